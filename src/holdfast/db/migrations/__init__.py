"""One Alembic tree for three dialects. A released migration is never edited."""
