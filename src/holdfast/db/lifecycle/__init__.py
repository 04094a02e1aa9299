"""What happens to rows that leave: the cascade graph, the plan, soft deletion, restore, bundle, purge and recovery.

Everything here is derived from the tables' metadata; nobody writes a list of children by hand. It knows no rights and
no nouns: who may delete what, and what a person reads of it, is `features/deletions`.
"""
