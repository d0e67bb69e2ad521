"""``token``: a new token for an actor, kept by its hash in the file that the server reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from mcp_workflows.access.principal import RUN, SCOPES
from mcp_workflows.access.token_file import TokenFile, line_for, new_token
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.given import load_settings
from mcp_workflows.cli.terminal import remark, stdout
from mcp_workflows.errors import InputRefused


@command
def token(
    actor: Annotated[str, typer.Argument(metavar="ACTOR", help="Who will use it; recorded with all that is asked.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help=f"What it allows, may be repeated: {', '.join(SCOPES)}. Default: {RUN}."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Default: what MCP_WORKFLOWS_TOKENS says.")
    ] = None,
) -> Exit:
    """Make a token for an actor, add its hash to the file of tokens, and print it, once.

    A server that reads the file takes it at once. To end a token, take its line out of the file.
    """
    path = file or load_settings().tokens
    if path is None:
        raise InputRefused("Say where tokens are kept: --file FILE, or MCP_WORKFLOWS_TOKENS.")
    made = new_token()
    line = line_for(actor, made, tuple(scope or (RUN,)))
    if path.exists():
        TokenFile(path)  # what cannot be read is not added to
    _append(path, line)
    stdout().print(made, highlight=False, soft_wrap=True)
    remark(f"[dim]It is shown this once; {escape(str(path))} keeps its hash.[/]")
    return Exit.DONE


def _append(path: Path, line: str) -> None:
    """On a line of its own, in a file that only its owner can read; beside whoever else adds one just now."""
    try:
        path.touch(mode=0o600, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            file.seek(0)
            before = file.read()
            separator = "" if not before or before.endswith(b"\n") else "\n"
            file.write(f"{separator}{line}\n".encode())
    except OSError as error:
        raise InputRefused(f"{path} cannot be written: {error.strerror}.") from None
