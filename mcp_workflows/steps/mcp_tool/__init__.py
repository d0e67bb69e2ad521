"""``mcp_tool`` steps: tools of other MCP servers, reached by a URL or, if the settings say so, by a command."""
