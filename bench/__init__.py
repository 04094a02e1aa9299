"""Measures Holdfast against the targets P1, P1s, P2, P3, P4, P6 and P8, on servers of its own: `python -m bench`.

What is counted of requests is CPU time of the application and the database, never of the load, so that a busy machine
changes the figures little; deletions are timed. It is no part of the product, and nothing in the product may import it.
"""
