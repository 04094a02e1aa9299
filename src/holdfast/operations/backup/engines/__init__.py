"""How each database is dumped and loaded by its own means. `base` states the interface."""
