"""Workflows and runs as resources, and which of them can be listened to."""
