"""A real PostgreSQL server from a wheel, the local database in it, and a link that can be slow or silent."""
