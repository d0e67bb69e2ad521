"""The program: its commands, and what holds for all of them.

Only the command that was asked for is imported: what ``serve`` needs takes longer to import than ``validate`` takes to
run, and editors and clients start these often.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from mcp_workflows import __version__
from mcp_workflows.cli.terminal import tolerate_any_encoding

COMMANDS: Final = {
    "demo": ("Begin", "demo"),
    "validate": ("Definitions", "validate"),
    "schema": ("Definitions", "validate"),
    "test": ("Definitions", "test"),
    "serve": ("Server", "serve"),
    "token": ("Server", "token"),
    "install": ("Server", "install"),
    "nodes": ("Server", "nodes"),
    "gc": ("Server", "gc"),
    "run": ("Runs", "run"),
    "runs": ("Runs", "runs"),
    "show": ("Runs", "show"),
    "signal": ("Runs", "answer"),
    "resume": ("Runs", "decide"),
    "cancel": ("Runs", "decide"),
}
"""Of every command: where the help shows it, and the module that has a function of its name."""


class _Command(TyperCommand):
    """Shows flags as such, and not as if they took a value. typer keeps the types of what it hands over to itself."""

    def get_params(self, ctx: Any) -> Any:
        return _flags_without_value(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _flags_without_value(super().get_params(ctx))


def _flags_without_value(params: Any) -> Any:
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag and param.metavar is None:
            param.metavar = ""
    return params


def program(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with these commands."""
    made = typer.Typer(
        name="mcp-workflows",
        help="Durable workflows for AI agents: one YAML file becomes an MCP tool that survives kill -9.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 done, 1 failed or cancelled, 2 refused, 3 paused, 4 recorded but not done yet, "
        "5 database unwell. Everything is in docs/cli.md.",
    )
    made.callback(cls=_Group)(_common)
    for name in commands:
        panel, module = COMMANDS[name]
        function = getattr(import_module(f"mcp_workflows.cli.{module}"), name)
        made.command(name, cls=_Command, help=_unwrapped(function.__doc__), rich_help_panel=panel)(function)
    return made


def _unwrapped(text: str) -> str:
    """Each paragraph on one line: the terminal breaks lines at its own width, and keeps those of the source as well."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mcp-workflows {__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point of the ``mcp-workflows`` script."""
    tolerate_any_encoding()
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if asked in COMMANDS:
            program([asked])()
        elif asked == "--version":
            program(["schema"])()
        else:
            program()()
    except SystemExit as end:
        _end(end.code if isinstance(end.code, int) else int(end.code is not None))


def _end(code: int) -> NoReturn:
    """Ends the process now. Everything is closed by then, and to take all modules apart takes the interpreter up to
    a second: too long for a client that kills its server after two.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()
    os._exit(code)
