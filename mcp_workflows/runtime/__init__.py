"""Moving runs: who owns them, when they wake, and their attempts. ``runs`` is the only way in for every surface."""
