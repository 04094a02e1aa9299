"""What every layer may use: actor, errors, clock, ids, pages.

Nothing here does I/O, knows a table, or knows that there is a web.
"""
