"""Forms: a user asks, staff of the project answer and decide."""
