"""The books off site: a copy of every closed day in an S3-compatible store, and the check of it (docs/books-off-site.md)."""
