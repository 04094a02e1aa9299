"""The three engines behind one interface: a pool, a transaction, named statements into structs, errors translated.

`engines.base` states the interface; `postgresql`, `mariadb` and `sqlite` are the only files that import a driver.
"""
