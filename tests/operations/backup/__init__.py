"""Backups: made under load, checked, restored elsewhere, refused when they are not what they were."""
