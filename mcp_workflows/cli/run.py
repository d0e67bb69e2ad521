"""``run``: one run from the terminal, moved by this process and followed to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.markup import escape

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.follow import exit_of, follow, wait_for_rest
from mcp_workflows.cli.given import load_settings, read_json
from mcp_workflows.cli.hints import same_place, serve_command
from mcp_workflows.cli.options import AsJson, Database, Definitions
from mcp_workflows.cli.terminal import print_json, remark, stderr, stdout
from mcp_workflows.cli.told import run_json
from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import InputRefused, UnknownWorkflow
from mcp_workflows.runtime.runs import LOCAL
from mcp_workflows.runtime.views import RunView


@command
async def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")],
    input_text: Annotated[
        str, typer.Option("--input", "-i", metavar="JSON|@FILE|-", help="Its input; - reads stdin.")
    ] = "{}",
    key: Annotated[
        str | None, typer.Option("--key", help="An idempotency key: the same key answers with the same run.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only start it; a server on the same database moves it.")
    ] = False,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Exit:
    """Start a run here, and follow it to its end.

    The picture goes to stderr, the result to stdout as JSON. Exit code 0: completed, 1: failed or cancelled, 2: refused,
    3: paused. Ctrl-C leaves the run where it is: safe, and moved on by any server.
    """
    arguments = read_json(input_text, "--input")
    settings = load_settings(definitions, database)
    place = same_place(definitions, database)
    async with built_app(settings, role=Role.STARTER if detach else Role.RUNNER) as app:
        view = await _start(app, name, arguments, key)
        if detach:
            await _tell_detached(app, view, as_json=as_json, serve=serve_command(definitions, database))
            return Exit.DONE
        async with app.moving():
            view = await _follow(app, view, quiet=as_json, place=place)
    if as_json:
        print_json(run_json(view))
    elif view.status is RunStatus.COMPLETED:
        print_json(view.result)
    return exit_of(view)


async def _follow(app: App, view: RunView, *, quiet: bool, place: str) -> RunView:
    if view.joined and not quiet:
        remark(f"[dim]joined {view.run_id}: the same call had started it before[/]")
    if not quiet:
        _remark_stranded(view)
    try:
        if quiet:
            return await wait_for_rest(app.runs, view.run_id)
        return await follow(app.runs, view.run_id, stderr(), result=False, place=place)
    except asyncio.CancelledError:
        show = f"mcp-workflows show {view.run_id}{place}"
        remark(f"\n{view.run_id} is safe. It goes on when a server is up; see: {escape(show)}")
        raise


def _remark_stranded(view: RunView) -> None:
    if view.stranded is not None:
        remark(f"[doubt]No server that is up can go on with it[/]: {escape(view.stranded)}")


async def _tell_detached(app: App, begun: RunView, *, as_json: bool, serve: str) -> None:
    view = replace(await app.runs.get(begun.run_id, actor=None), joined=begun.joined)
    if as_json:
        print_json(run_json(view))
    else:
        stdout().print(view.run_id)
    if not await app.servers():
        remark(f"[doubt]No server is up on this database[/]: the run begins when one is, with {escape(serve)}")
    else:
        _remark_stranded(view)


async def _start(app: App, name: str, arguments: Any, key: str | None) -> RunView:
    try:
        return await app.runs.start(name, arguments, actor=LOCAL, idempotency_key=key)
    except InputRefused as refused:
        raise InputRefused(f"input refused, no run was started. {refused}") from None
    except UnknownWorkflow:
        raise UnknownWorkflow(_unknown(app, name)) from None


def _unknown(app: App, name: str) -> str:
    places = ", ".join(map(str, app.settings.definitions))
    broken = app.catalog.problems
    known = app.catalog.definitions
    if not known and not broken:
        return f'no workflow "{name}": there are no definitions in {places}. Say where with --definitions PATH.'
    said = f'no workflow "{name}" in {places}.{did_you_mean(name, known)}'
    if known:
        said += f" There are {', '.join(known)}."
    if broken:
        files = " ".join(sorted({problem.file for problem in broken}))
        said += f"\nSome cannot be loaded; why: mcp-workflows validate {files}"
    return said
