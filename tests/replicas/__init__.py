"""Several processes on one database: replicas side by side, and an upgrade that is rolled out among them."""
