"""``gc``: deletes runs that finished long ago, as servers do by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from mcp_workflows.app import Role, built_app
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.given import load_settings
from mcp_workflows.cli.options import AsJson, Database, Definitions
from mcp_workflows.cli.spans import clock_time
from mcp_workflows.cli.terminal import print_json, remark, stderr, stdout
from mcp_workflows.cli.told import instant_json
from mcp_workflows.clock import utc_now
from mcp_workflows.definition.durations import parse_duration
from mcp_workflows.errors import InputRefused
from mcp_workflows.runtime.retention import Swept
from mcp_workflows.settings import Settings


@command
async def gc(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Finished longer ago than that. Default: the setting RETENTION.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Exit:
    """Delete finished runs that are older than the retention, with all that is recorded of them.

    A run goes with all of its children or not at all. Servers do the same by themselves.
    """
    settings = load_settings(definitions, database)
    before = utc_now() - _age(older_than, settings)
    async with built_app(settings, role=Role.OBSERVER) as app:
        if dry_run:
            swept = await app.retention.count(before)
        else:
            with stderr().status("deleting …") as status:
                swept = await app.retention.sweep(before, swept=lambda gone: status.update(f"deleted {_told(gone)} …"))
    if as_json:
        print_json({"deleted": not dry_run, "before": instant_json(before), "runs": swept.runs, "trees": swept.trees})
    else:
        stdout().print(f"{'Would delete' if dry_run else 'Deleted'} {_told(swept)}{_finished(swept, before)}.")
        if swept.runs and not dry_run and settings.database_file is not None:
            remark("[dim]The file keeps its size, and the room is used for new runs.[/]")
    return Exit.DONE


def _age(given: str | None, settings: Settings) -> timedelta:
    if given is None and settings.retention is None:
        raise InputRefused("MCP_WORKFLOWS_RETENTION says forever. Say --older-than AGE, such as 90d.")
    try:
        return timedelta(seconds=settings.retention or 0.0 if given is None else parse_duration(given))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from None


def _told(swept: Swept) -> str:
    children = swept.runs - swept.trees
    runs = f"{swept.trees:,} run{'' if swept.trees == 1 else 's'}" if swept.trees else "no runs"
    return f"{runs} and {children:,} of their children" if children else runs


def _finished(swept: Swept, before: datetime) -> str:
    return f" that finished before {clock_time(before)}" if swept.runs else ""
