"""Storage: JSON documents in MongoDB or SQLite, files in a bucket or a folder."""
