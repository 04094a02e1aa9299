"""The worker: claims due jobs and runs them, in the server's process or alone. It holds no rule of a feature."""
