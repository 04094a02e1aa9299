"""A whole instance in one file: exported from a database of any engine, imported into an empty one of any other.

docs/transfer.md describes the file. Nothing here changes a row that is there: an import begins with an empty database.
"""
