"""Failover on real clusters, under load through the real API. Engine-neutral: `load.py`, `ledger.py`, `replicas.py`.

Each cluster has a file of its own. Nothing here may look into the database: what counts is what a client was told.
"""
