"""Plan review: how the engine carries out every named statement, and which one would suffer as tables grow.

It asks the engine by EXPLAIN and changes nothing. Features, edges and the worker do not need it.
"""
