"""What `deploy/` offers to other programs."""
