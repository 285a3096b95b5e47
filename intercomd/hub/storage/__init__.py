"""The database: one SQLite file, or a PostgreSQL that several processes share."""
