"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

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
Actor: TypeAlias = Annotated[
    str | None, typer.Option("--as", metavar="ACTOR", help="Who decides. Default: cli: and your user name.")
]
