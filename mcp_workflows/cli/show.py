"""``show``: one run as a timeline, once or as it moves."""

from __future__ import annotations

from typing import Annotated

import typer

from mcp_workflows.app import App, Role, built_app
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.follow import exit_of, follow, wait_for_rest
from mcp_workflows.cli.given import load_settings
from mcp_workflows.cli.hints import same_place
from mcp_workflows.cli.options import AsJson, Database, Definitions, RunId
from mcp_workflows.cli.terminal import print_json, stdout
from mcp_workflows.cli.timeline import ending, timeline
from mcp_workflows.cli.told import trace_json
from mcp_workflows.cli.unknown import told_where
from mcp_workflows.clock import utc_now


@command
async def show(
    run_id: RunId,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it has ended or is paused.")] = False,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Exit:
    """Show a run: its steps, attempts, waits and errors, and who asked for what.

    With --watch the exit code says how the run ended, as that of `run` does.
    """
    place = same_place(definitions, database)
    async with built_app(load_settings(definitions, database), role=Role.OBSERVER) as app, told_where(app, run_id):
        if watch:
            return await _watch(app, run_id, as_json=as_json, place=place)
        trace = await app.runs.trace(run_id, actor=None)
    if as_json:
        print_json(trace_json(trace))
    else:
        stdout().print(timeline(trace, utc_now(), ends=False))
        for line in ending(trace.run, place=place):
            stdout().print(line, soft_wrap=True)  # the terminal breaks them, so that commands can be copied whole
    return Exit.DONE


async def _watch(app: App, run_id: str, *, as_json: bool, place: str) -> Exit:
    async with app.moving():
        if not as_json:
            return exit_of(await follow(app.runs, run_id, stdout(), place=place))
        view = await wait_for_rest(app.runs, run_id)
        print_json(trace_json(await app.runs.trace(run_id, actor=None)))
        return exit_of(view)
