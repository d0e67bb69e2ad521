"""``signal``: a person answers what a run asks, or tells it that something has happened."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from mcp_workflows.app import Role, built_app
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.cli.command import command, finished
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.filling import fill_in, show_fields
from mcp_workflows.cli.follow import exit_of
from mcp_workflows.cli.given import load_settings, read_json, who_decides
from mcp_workflows.cli.hints import same_place
from mcp_workflows.cli.inbox import taken_in, tell, tell_untaken
from mcp_workflows.cli.options import Actor, AsJson, Database, Definitions, RunId
from mcp_workflows.cli.spans import clock_time
from mcp_workflows.cli.terminal import remark
from mcp_workflows.cli.unknown import told_where
from mcp_workflows.errors import InputRefused
from mcp_workflows.settings import Settings

_JSON: Final = "JSON|@FILE|-"


@dataclass(frozen=True, slots=True)
class _Given:
    """What is sent. ``decides``: it can only be meant for an approval."""

    name: str
    data: Any
    actor: str
    decides: bool


@command
def signal(
    run_id: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the approval or signal; in a loop the path.")],
    data: Annotated[
        str | None, typer.Option(metavar=_JSON, help="Of a signal its data; of an approval the whole answer.")
    ] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Say yes.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    note: Annotated[str | None, typer.Option(help="A remark, recorded with the decision.")] = None,
    form: Annotated[str | None, typer.Option(metavar=_JSON, help="What the approval wants filled in.")] = None,
    actor: Actor = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run from there.")] = False,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Coroutine[Any, Any, Exit]:
    """Answer an approval, or send a signal that a run waits for.

    Without --approve, --reject or --data you are shown what is asked, and asked for your decision. A signal may be sent
    before the run waits for it.
    """
    _check_together(data=data, approve=approve, reject=reject, note=note, form=form)
    answer: dict[str, Any] = {} if note is None else {"note": note}
    if form is not None:
        answer["form"] = read_json(form, "--form")
    if approve or reject:
        answer["decision"] = "approved" if approve else "rejected"
    given = None if data is None else read_json(data, "--data")
    settings, place = load_settings(definitions, database), same_place(definitions, database)
    wait = finished(_asked(settings, run_id, name))
    if wait is not None and wait.kind == "approval":
        name = wait.path  # what was shown, and nothing that is asked meanwhile
        _show(wait)
        given = given if data is not None else answer if approve or reject else _decided(wait, answer)
    elif wait is not None and answer:
        raise InputRefused(f'"{name}" of {run_id} is a signal: it takes --data.')
    sent = _Given(name, answer or given, who_decides(actor), decides=bool(answer))
    # Only now: people take their time, and a process that is blocked would be taken for dead meanwhile.
    return _send(settings, run_id, sent, watch=watch, as_json=as_json, place=place)


async def _send(settings: Settings, run_id: str, given: _Given, *, watch: bool, as_json: bool, place: str) -> Exit:
    async with built_app(settings, role=Role.OBSERVER) as app, app.moving():
        ask = app.runs.signal(
            run_id, given.name, given.data, actor=None, via="cli", person=True, by=given.actor, decides=given.decides
        )
        view = await taken_in(app, run_id, ask)
        if view is None:
            return await tell_untaken(app, run_id, as_json=as_json)
        view = await tell(app, view, watch=watch, as_json=as_json, place=place)
        return exit_of(view) if watch else Exit.DONE


def _check_together(*, data: str | None, approve: bool, reject: bool, note: str | None, form: str | None) -> None:
    if approve and reject:
        raise typer.BadParameter("--approve and --reject exclude each other")
    if data is not None and (approve or reject or note is not None or form is not None):
        raise typer.BadParameter("--data is the whole answer: leave out --approve, --reject, --note and --form")


async def _asked(settings: Settings, run_id: str, name: str) -> Waiting | None:
    """What waits under this name, if the run waits for it now."""
    async with built_app(settings, role=Role.OBSERVER) as app, told_where(app, run_id):
        view = await app.runs.get(run_id, actor=None)
    return next((wait for wait in view.waiting_for if name in (wait.path, wait.name)), None)


def _show(wait: Waiting) -> None:
    remark(f"[name]{escape(wait.message or wait.name)}[/]")
    if wait.approvers is not None:
        remark(f"[dim]to be decided by {escape(', '.join(wait.approvers))}[/]")
    show_fields(wait)
    if wait.expires_at is not None:
        remark(f"[dim]until {clock_time(wait.expires_at)}[/]")


def at_terminal() -> bool:
    """Somebody is there who can be asked."""
    return sys.stdin.isatty()


def _decided(wait: Waiting, answer: dict[str, Any]) -> dict[str, Any]:
    """Ask the person at the terminal. Raises ``InputRefused`` where there is none."""
    if not at_terminal():
        raise InputRefused("Nothing was decided: say --approve or --reject (there is no terminal to ask you at).")
    yes = typer.confirm("Approve?", default=None, err=True)
    answer["decision"] = "approved" if yes else "rejected"
    if yes and "form" not in answer and (filled := fill_in(wait)):
        answer["form"] = filled
    if "note" not in answer:
        note = typer.prompt("Note (may be empty)", default="", show_default=False, err=True)
        answer |= {"note": note} if note else {}
    return answer
