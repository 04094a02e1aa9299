"""The data layer: schema, keys, isolation, pool, lists, statements and views, on real databases of all engines."""
