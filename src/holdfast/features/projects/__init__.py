"""Projects of a group and their GPU quota."""
