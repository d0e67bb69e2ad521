"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from mcp_workflows.errors import InputRefused
from mcp_workflows.settings import Settings

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, for scripts.")]
Definitions: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--definitions",
        "-d",
        metavar="PATH",
        help="A file or folder of workflow definitions; may be repeated. Default: ./definitions",
    ),
]
Database: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URL",
        help="The database of runs. Default: .mcp-workflows/runs.db beside the definitions.",
    ),
]
RunId: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN_ID", help="The run's id, or its first characters (8 after r_).")
]
Reason: TypeAlias = Annotated[str | None, typer.Option(help="Why, recorded with the run.")]


def load_settings(definitions: list[Path] | None = None, database: str | None = None) -> Settings:
    """The settings with what the command line says. Raises SettingsInvalid."""
    if database is not None and "://" not in database:
        database = f"sqlite:///{Path(database).expanduser().resolve()}"
    return Settings.load(definitions=tuple(definitions) if definitions else None, database_url=database)


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
            f"{source} is no JSON: {error.msg} at line {error.lineno}, column {error.colno}.{_hint(text)}"
        ) from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"


def _hint(text: str) -> str:
    if "'" in text and '"' not in text:
        return ' JSON has double quotes: \'{"email": "a@example.com"}\''
    if text and not text.lstrip().startswith(("{", "[")):
        return " For a file write @file."
    return ""
