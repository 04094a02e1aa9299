"""Jobs as people see them: what waits, runs and failed, what ran when with which outcome, and when what is due.

It runs nothing: the worker does. Only super administrators see any of it.
"""
