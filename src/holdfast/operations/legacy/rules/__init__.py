"""The rules of single tables: pure where they can be, and every change leaves a note (docs/legacy.md lists them)."""
