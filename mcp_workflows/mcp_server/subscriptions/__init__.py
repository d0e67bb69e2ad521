"""Who listens to what, and telling them, in both eras of the protocol."""
