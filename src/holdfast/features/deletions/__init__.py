"""Deleting, restoring and purging: who may do it, what must be decided first, and what a person reads of it.

How rows are counted, marked and removed is `db/lifecycle`; the rules of each noun stay with its feature.
"""
