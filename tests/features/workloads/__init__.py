"""The rules of workloads."""
