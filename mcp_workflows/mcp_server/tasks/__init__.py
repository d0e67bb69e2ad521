"""The extension ``io.modelcontextprotocol/tasks``: all of it is here, so that an official package can take its place."""
