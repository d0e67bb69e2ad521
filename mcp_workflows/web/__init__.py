"""Pages for people, made on the server: they need no script, and work with a keyboard and with a screen reader."""
