"""``runs``: what is in the database, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from mcp_workflows.app import Role, built_app
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.given import load_settings
from mcp_workflows.cli.options import AsJson, Database, Definitions
from mcp_workflows.cli.spans import clock_time, due, span
from mcp_workflows.cli.terminal import print_json, remark, stdout
from mcp_workflows.cli.timeline import status_mark
from mcp_workflows.cli.told import run_json
from mcp_workflows.clock import utc_now
from mcp_workflows.definition.durations import parse_duration
from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.runtime.views import RunPage, RunQuery, RunView

_WIDE: Final = 110
"""Columns of a terminal that has room for everything."""
STATUSES = ("any", "open", "needs_input", *RunStatus)


@command
async def runs(
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Only runs of this workflow.")] = None,
    status: Annotated[
        str, typer.Option("--status", "-s", help=f"One of {', '.join(STATUSES)}; open: not finished.")
    ] = "any",
    since: Annotated[
        str | None, typer.Option(metavar="AGE|INSTANT", help="Begun at most so long ago, or after: 2h, 2026-11-22.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="The one with this idempotency key.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended: its next_cursor.")] = None,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Exit:
    """List runs, newest first."""
    if status not in STATUSES:
        raise typer.BadParameter(
            f'"{status}" is not one of {", ".join(STATUSES)}.{did_you_mean(status, STATUSES)}', param_hint="--status"
        )
    now = utc_now()
    begun_after = None if since is None else _since(since, now)
    query = RunQuery(workflow, status, key, begun_after, None, limit, cursor)
    async with built_app(load_settings(definitions, database), role=Role.OBSERVER) as app:
        page = await app.runs.list(query)
        place = app.settings.database_place
    if as_json:
        print_json({"runs": [run_json(run) for run in page.runs], "next_cursor": page.next_cursor})
    elif not page.runs:
        remark(f"No runs {'like that ' if query != RunQuery(status='any', limit=limit) else ''}in {place}.")
    else:
        _print_table(page, now)
    return Exit.DONE


def _print_table(page: RunPage, now: datetime) -> None:
    console = stdout()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    titles = ["run", "workflow", "status", "begun", "took", "remark"]
    if console.width < _WIDE:  # ids are there to be copied, so rather less than parts of all
        titles = [title for title in titles if title not in ("begun", "took")]
    for title in titles:
        table.add_column(title, no_wrap=title not in ("workflow", "remark"), overflow="fold")
    for run in page.runs:
        mark, style = status_mark(run.status)
        told = {
            "run": Text(run.run_id, "id"),
            "workflow": f"{run.workflow} v{run.version}",
            "status": Text(f"{mark} {run.status}", style),
            "begun": clock_time(run.created_at),
            "took": span(((run.finished_at or now) - run.created_at).total_seconds()),
            "remark": Text(_remark(run, now)),
        }
        table.add_row(*(told[title] for title in titles))
    console.print(table)
    if page.next_cursor:
        remark(f"[dim]more with --cursor {page.next_cursor}, or --limit[/]")


def _remark(run: RunView, now: datetime) -> str:
    said: Sequence[str] = []
    if run.error is not None:
        said = [f"{run.error.step}: {run.error.message}" if run.error.step else run.error.message]
    elif run.waits:
        first, *others = run.waits
        said = [f"needs an answer: {first}" + (f" and {len(others)} more" if others else "")]
    elif run.wake_at is not None:
        said = [f"until {due(run.wake_at, now)}"]
    elif run.idempotency_key:
        said = [f"key {run.idempotency_key}"]
    return "; ".join(said)[:120]


def _since(text: str, now: datetime) -> datetime:
    try:
        return now - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise typer.BadParameter(f'"{text}": write an age, 30m, 2h, 7d, or an instant', param_hint="--since") from None
