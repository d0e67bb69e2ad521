"""What was given on the command line, read: settings, who decides, and JSON from an argument, a file or stdin."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Any

from mcp_workflows.cli.logs import configure_logs
from mcp_workflows.errors import InputRefused
from mcp_workflows.settings import Settings


def load_settings(
    definitions: list[Path] | None = None, database: str | None = None, *, logs: str = "critical"
) -> Settings:
    """The settings with what the command line says. Logs are as these settings want them from here on, or from level
    ``logs`` where they do not say. Raises SettingsInvalid.
    """
    if database is not None and "://" not in database:
        database = f"sqlite:///{Path(database).expanduser().resolve()}"
    settings = Settings.load(definitions=tuple(definitions) if definitions else None, database_url=database)
    configure_logs(settings, logs)
    return settings


def who_decides(actor: str | None) -> str:
    """As whom a person at the terminal is recorded: as who they say they are, or else as their user name."""
    if actor is not None:
        return actor
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # an account without a name, as in containers
        return "cli:unknown"


def read_json(text: str, option: str) -> Any:
    """The value of an option that takes JSON, ``@file`` or ``-`` for stdin. Raises InputRefused with the place."""
    source = option
    if text == "-":
        text, source = sys.stdin.read(), "stdin"
    elif text.startswith("@"):
        path, source = Path(text[1:]).expanduser(), text[1:]
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputRefused(f'{option}: cannot read "{path}": {_why(error)}.') from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputRefused(
            f"{source} is no JSON: {error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}.{_hint(text)}"
        ) from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"


def _hint(text: str) -> str:
    if "'" in text and '"' not in text:
        return ' JSON has double quotes: \'{"email": "a@example.com"}\''
    if text and not text.lstrip().startswith(("{", "[")):
        return " For a file write @file."
    return ""
