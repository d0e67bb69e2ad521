"""Who may ask: whom a bearer token names and what it allows. It knows nothing of runs, and nothing of MCP."""
