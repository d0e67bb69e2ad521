"""Stdio and streamable HTTP: how clients reach the server, and how it goes away."""
