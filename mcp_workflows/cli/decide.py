"""``resume`` and ``cancel``: what a person decides. It goes through the inbox, to whichever process moves the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.follow import exit_of, follow, wait_for_rest
from mcp_workflows.cli.given import load_settings, read_json
from mcp_workflows.cli.options import AsJson, Database, Definitions, Reason, RunId
from mcp_workflows.cli.terminal import print_json, remark, stdout
from mcp_workflows.cli.timeline import headline
from mcp_workflows.cli.told import run_json
from mcp_workflows.cli.unknown import told_where
from mcp_workflows.clock import utc_now
from mcp_workflows.runtime.views import RunView

_JSON: Final = "JSON|@FILE|-"
_PATIENCE_SECONDS: Final = 2.0
"""How long to wait for an answer where no server is up: one may just be starting."""


@command
async def resume(
    run_id: RunId,
    input_text: Annotated[
        str | None, typer.Option("--input", metavar=_JSON, help="Corrections merged into the run's input.")
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(metavar=_JSON, help="Corrections merged into the failed step's json, form, query or text."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar=_JSON, help="Taken as the failed step's output; it is not run.")
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Leave the failed step out.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make a step again that must run at most once and was cut off.")
    ] = False,
    reason: Reason = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run from there.")] = False,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Exit:
    """Go on from the failed step of a run that is paused, or failed with nothing undone.

    What is completed is kept. Without a correction the same is tried again. Of a failed run whose compensation is
    incomplete, the undoing is tried again.
    """
    texts = {"input": input_text, "request": request, "output": output}
    correction: dict[str, Any] = {
        name: read_json(text, f"--{name}") for name, text in texts.items() if text is not None
    }
    correction |= {name: True for name, given in (("skip", skip), ("again", again)) if given}
    async with built_app(load_settings(definitions, database), role=Role.OBSERVER) as app, app.moving():
        ask = app.runs.resume(run_id, actor=None, correction=correction, reason=reason)
        view = await _taken_in(app, run_id, ask)
        if view is None:
            return await _tell_untaken(app, run_id, as_json=as_json)
        view = await _tell(app, view, watch=watch, as_json=as_json)
        return exit_of(view) if watch else Exit.DONE


@command
async def cancel(
    run_id: RunId,
    no_compensate: Annotated[
        bool, typer.Option("--no-compensate", help="Only stop it; leave what is completed as it is.")
    ] = False,
    reason: Reason = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run to its end.")] = False,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Exit:
    """Stop a run and undo its completed steps. Of a run that has ended this changes nothing.

    Exit code 1: something could not be undone (known with --watch).
    """
    async with built_app(load_settings(definitions, database), role=Role.OBSERVER) as app, app.moving():
        ask = app.runs.cancel(run_id, actor=None, compensate=not no_compensate, reason=reason)
        view = await _taken_in(app, run_id, ask)
        if view is None:
            return await _tell_untaken(app, run_id, as_json=as_json)
        view = await _tell(app, view, watch=watch, as_json=as_json)
        return Exit.FAILED if view.compensation == "incomplete" else Exit.DONE


async def _taken_in(app: App, run_id: str, ask: Awaitable[RunView]) -> RunView | None:
    """The run after the request took effect; ``None``: the request waits in the run's inbox for a server."""
    async with told_where(app):
        patience = None if await app.servers() else _PATIENCE_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await ask
        view = await app.runs.get(run_id, actor=None)
    return None if await app.store.load_messages(view.run_id, unconsumed_only=True) else view


async def _tell_untaken(app: App, run_id: str, *, as_json: bool) -> Exit:
    if as_json:
        print_json(run_json(await app.runs.get(run_id, actor=None)))
    why = "no server took it up yet" if await app.servers() else "no server is up on this database"
    remark(
        f"[doubt]Recorded, but {why}[/]: it takes effect as soon as one does. Database: {app.settings.database_file}"
    )
    return Exit.UNFINISHED


async def _tell(app: App, view: RunView, *, watch: bool, as_json: bool) -> RunView:
    if as_json:
        view = await wait_for_rest(app.runs, view.run_id) if watch else view
        print_json(run_json(view))
    elif watch:
        view = await follow(app.runs, view.run_id, stdout())
    else:
        stdout().print(headline(view, utc_now()))
    return view
