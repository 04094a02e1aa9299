"""Completeness: what every table, key, statement and conformance row must have."""
