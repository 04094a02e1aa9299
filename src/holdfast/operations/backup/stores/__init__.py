"""Where backups lie: a folder, or a bucket of an S3-compatible server. They know names and bytes, no database."""
