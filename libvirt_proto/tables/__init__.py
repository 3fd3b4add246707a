"""Messages and exchanges as tables: rows, in batches of Arrow columns, in files."""
