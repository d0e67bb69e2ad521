"""Looking: every read of the database, by what it is about."""
