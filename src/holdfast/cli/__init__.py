"""The command line: server commands start things, user commands speak HTTP to a server."""
