"""Password hashes of the older program."""

# Its schema file made user `admin` with this hash, whose password anybody can look up.
WELL_KNOWN_HASHES = frozenset({"$2a$10$nsXJXOUAbVyLbvtPizj0RectJWdInu17C2NpWEVKNvwzKQcg8bchu"})
# No password fits these; the second one waits for a generated password at the end of the import.
UNUSABLE = "!"
TO_BE_RESET = "!reset"
