"""Coming from the older schema with integer keys: looking at such a database, and importing it.

docs/legacy.md is the guide. The older database is only ever read, in one read-only snapshot.
"""
