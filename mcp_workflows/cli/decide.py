"""``resume`` and ``cancel``: what a person decides. It goes through the inbox, to whichever process moves the run."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from mcp_workflows.app import Role, built_app
from mcp_workflows.cli.command import command
from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.follow import exit_of
from mcp_workflows.cli.given import load_settings, read_json, who_decides
from mcp_workflows.cli.hints import same_place
from mcp_workflows.cli.inbox import taken_in, tell, tell_untaken
from mcp_workflows.cli.options import Actor, AsJson, Database, Definitions, Reason, RunId
from mcp_workflows.cli.spans import span
from mcp_workflows.cli.terminal import remark
from mcp_workflows.clock import utc_now

_JSON: Final = "JSON|@FILE|-"


@command
async def resume(
    run_id: RunId,
    input_text: Annotated[
        str | None, typer.Option("--input", metavar=_JSON, help="Corrections merged into the run's input.")
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(metavar=_JSON, help="Corrections merged into what the failed step sent, as `show` tells it."),
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar=_JSON, help="Taken as the failed step's output; it is not run.")
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Leave the failed step out.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make a step again that must run at most once and was cut off.")
    ] = False,
    reason: Reason = None,
    actor: Actor = None,
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
    place = same_place(definitions, database)
    async with built_app(load_settings(definitions, database), role=Role.OBSERVER) as app, app.moving():
        by = who_decides(actor)
        ask = app.runs.resume(run_id, actor=None, correction=correction, via="cli", person=True, reason=reason, by=by)
        view = await taken_in(app, run_id, ask)
        if view is None:
            return await tell_untaken(app, run_id, as_json=as_json)
        view = await tell(app, view, watch=watch, as_json=as_json, place=place)
        return exit_of(view) if watch else Exit.DONE


@command
async def cancel(
    run_id: RunId,
    no_compensate: Annotated[
        bool, typer.Option("--no-compensate", help="Only stop it; leave what is completed as it is.")
    ] = False,
    reason: Reason = None,
    actor: Actor = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run to its end.")] = False,
    as_json: AsJson = False,
    definitions: Definitions = None,
    database: Database = None,
) -> Exit:
    """Stop a run and undo its completed steps. Of a run that has ended this changes nothing.

    Exit code 1: something could not be undone (known with --watch).
    """
    asked_at = utc_now()
    place = same_place(definitions, database)
    async with built_app(load_settings(definitions, database), role=Role.OBSERVER) as app, app.moving():
        by = who_decides(actor)
        ask = app.runs.cancel(run_id, actor=None, via="cli", compensate=not no_compensate, reason=reason, by=by)
        view = await taken_in(app, run_id, ask)
        if view is None:
            return await tell_untaken(app, run_id, as_json=as_json)
        if view.finished_at is not None and view.finished_at < asked_at:
            ago = span((asked_at - view.finished_at).total_seconds())
            remark(f"Nothing to cancel: it ended {ago} ago.")
        view = await tell(app, view, watch=watch, as_json=as_json, place=place)
        return Exit.FAILED if view.compensation == "incomplete" else Exit.DONE
