"""Durable workflows for AI agents: one YAML file becomes an MCP tool that survives ``kill -9``."""

__version__ = "0.1.0"
