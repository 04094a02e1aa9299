"""Config files: from text to resources."""
