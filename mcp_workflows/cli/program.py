"""The program: its commands, and what holds for all of them."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from mcp_workflows import __version__
from mcp_workflows.cli.decide import cancel, resume
from mcp_workflows.cli.demo import demo
from mcp_workflows.cli.run import run
from mcp_workflows.cli.runs import nodes, runs
from mcp_workflows.cli.serve import serve
from mcp_workflows.cli.show import show
from mcp_workflows.cli.terminal import tolerate_any_encoding
from mcp_workflows.cli.validate import schema, validate

program = typer.Typer(
    name="mcp-workflows",
    help="Durable workflows for AI agents: one YAML file becomes an MCP tool that survives kill -9.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed or cancelled, 2 refused, 3 paused, 4 recorded but not done yet, "
    "5 database unwell. Everything is in docs/cli.md.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mcp-workflows {__version__}")
        raise typer.Exit


@program.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


for panel, commands in {
    "Begin": (demo,),
    "Definitions": (validate, schema),
    "Server": (serve, nodes),
    "Runs": (run, runs, show, resume, cancel),
}.items():
    for one in commands:
        program.command(rich_help_panel=panel)(one)


def main() -> None:
    """The entry point of the ``mcp-workflows`` script.

    The process ends without taking the interpreter apart: all that matters is on disk by then, and a client that closes
    a stdio server kills it after two seconds.
    """
    tolerate_any_encoding()
    try:
        program()
    except SystemExit as end:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # whoever read it is gone
                stream.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)
