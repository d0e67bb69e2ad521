"""The MCP surface: every workflow as a tool, and the tools that follow runs. It translates and decides nothing."""
