"""Course workloads: what runs or asks to run in a project, admitted under its GPU quota and its allowed images.

It keeps the rows; nothing here speaks to a cluster.
"""
