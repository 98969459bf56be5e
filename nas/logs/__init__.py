"""Where journals are kept: files of SQLite, or a PostgreSQL server."""
