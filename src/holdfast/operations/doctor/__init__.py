"""The doctor: checks of everything that must hold in an instance, and cures for what can be cured.

One file for each family of checks; `registry` lists them all. A check only reads, in a snapshot of its own, so that it
neither locks nor holds the database's housekeeping up for long. A cure says first what it would change, row by row,
and loses nothing: what it removes is written to a verified file before.
"""
