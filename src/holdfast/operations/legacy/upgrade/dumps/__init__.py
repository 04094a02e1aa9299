"""How each database gives its old tables to a dump and takes them from one. `base` states the interface."""
