"""Rules of deletions, at the level of their service functions."""
