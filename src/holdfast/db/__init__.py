"""The relational heart: tables, named statements, engines, migrations.

It knows rows and transactions, and no rule of any feature. Nothing outside this package speaks to a driver.
"""
