"""The upgrade of an older database in its own place, while the older program goes on (docs/legacy-upgrade.md)."""
