"""What is said when a call is refused: one text that holds what happened, what state that leaves, and what to do.

Clients show a model nothing but the first text of an error, so nothing is left to structure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime

from mcp_workflows.definition.phrases import did_you_mean
from mcp_workflows.errors import Busy, CallerError, PersonNeeded, Problem, Stopping, StoreUnavailable, SystemUnwell
from mcp_workflows.mcp_server.views.next_step import LONGEST_WAIT
from mcp_workflows.mcp_server.views.wording import age, cut, day_and_time
from mcp_workflows.runtime.views import RunView

LONGEST = 600
"""Characters of a refusal."""
_NAMED = 3
"""How many broken files are named."""


def start_refused(error: Exception) -> str:
    return cut(f"Input refused, no run was started. {error}", LONGEST)


def arguments_refused(problem: str) -> str:
    """Of a tool that follows runs."""
    return cut(f"Arguments refused, nothing was changed. {problem}", LONGEST)


def bounded(error: CallerError) -> str:
    """The errors of the runtime say all there is to say."""
    return cut(str(error), LONGEST)


def person_needed(needed: PersonNeeded, kind: str, way: str) -> str:
    """An approval that is not an agent's to give: what the agent can tell its user."""
    until = f" (valid until {day_and_time(needed.expires_at)})" if needed.expires_at else ""
    then = f"hen call get_run with wait_seconds {LONGEST_WAIT}."
    if kind == "url":
        return cut(f"Refused: {needed} Give the user {way}{until}, t{then}", LONGEST)
    return cut(f"Refused: {needed} Give the user this command for their terminal{until}: {way} T{then}", LONGEST)


def may_not(actor: str, what: str, scope: str) -> str:
    """The caller's token does not allow that."""
    return cut(
        f"Refused, nothing was changed. {actor} may not {what}: the token lacks the scope {scope}. "
        "Tell the user; only whoever gives out tokens can change that.",
        LONGEST,
    )


def too_many(per_minute: int, seconds: float) -> str:
    """The caller calls more often than it may."""
    return (
        f"Too many calls: you may make {per_minute} a minute. Nothing was done. Call again in {math.ceil(seconds)} s, "
        f"and let get_run wait (wait_seconds {LONGEST_WAIT}) where you asked again and again."
    )


def not_served(name: str, names: Sequence[str], problems: Iterable[Problem], *, tool: bool) -> str:
    """A ``tool``, or a workflow to be started by name, that is not served: perhaps misspelt, perhaps its file is broken."""
    found = list(problems)
    if broken := _broken_file(name, found):
        return cut(f'Workflow "{name}" is not served: its file is broken, {broken}', LONGEST)
    listed = f" Tools here: {', '.join(names)}." if tool else " find_workflows finds others."
    hint = did_you_mean(name, names) or listed
    what = "tool" if tool else "workflow"
    return cut(f'No {what} "{cut(name, 80)}", nothing was started.{_not_served(found)}{hint}', LONGEST)


def broken_behind(name: str, problem: Problem, version: int) -> str:
    """No refusal, but whoever has just changed the file would believe that it was run as it is now."""
    place = f"{problem.file}:{problem.line}:{problem.column}"
    what = cut(f"{problem.code}: {problem.message}", 200)
    return f'Workflow "{name}" is broken in {place} ({what}); its last good version {version} is served.'


def unknown_run(run_id: str, own: Sequence[RunView], now: datetime, *, more: bool) -> str:
    """``own`` are the caller's open runs, which it may have meant."""
    said = f"No run {cut(run_id, 40)} that you may see."
    if not own:
        return f"{said} You have no open runs; list_runs with status any shows finished ones."
    lines = "; ".join(f"{run.run_id} {run.workflow} {run.status} {_since(run, now)}" for run in own)
    hint = "list_runs shows more." if more else "list_runs with status any shows finished ones."
    return cut(f"{said} Your open runs: {lines}. {hint}", LONGEST)


def unwell(error: SystemUnwell, *, discreet: bool, starting: bool = False) -> str:
    """The service cannot answer now; runs are not harmed by that. ``discreet``: the caller does not run the service."""
    match error:
        case Stopping() if starting:
            return "The service is stopping, no run was started. Call again in a few seconds."
        case Stopping():
            return stopping()
        case Busy():
            return f"The service is busy, no run was started: {error} Call again in a minute, with the same input."
        case StoreUnavailable() if starting:
            said = (
                "It is not known whether a run was started: call again with the same input, then you join it if it was."
            )
        case _:
            said = "Runs are safe and go on when it is well again. Call again in a few seconds."
    return cut(f"The service is unwell: {error.outside if discreet else error} {said}", LONGEST)


def internal(tool: str) -> str:
    """A defect of ours; the details are in the log and not for the caller."""
    return f"Internal error in {tool}; it is in the server's log. Runs are not affected: list_runs shows yours."


def stopping(*, ends_with_client: bool = False) -> str:
    """In place of waiting. ``ends_with_client``: no other server is known to be up that takes the run on."""
    if ends_with_client:
        return "This server ends with its client; the run is safe, and goes on when one is up again. Call get_run then."
    return "The service is stopping; the run is safe and goes on. Call get_run in a few seconds."


def _broken_file(name: str, problems: Iterable[Problem]) -> str | None:
    for problem in problems:
        stem = problem.file.replace("\\", "/").rsplit("/", 1)[-1].split(".", 1)[0]
        if stem == name:
            return str(problem)
    return None


def _not_served(problems: Iterable[Problem]) -> str:
    """Files whose workflow may be the one that was meant, under another name than the file's."""
    files = list(dict.fromkeys(problem.file.replace("\\", "/").rsplit("/", 1)[-1] for problem in problems))
    if not files:
        return ""
    more = ", …" if len(files) > _NAMED else ""
    return f" Broken and not served: {', '.join(files[:_NAMED])}{more}; mcp-workflows validate says why."


def _since(run: RunView, now: datetime) -> str:
    return age((now - run.created_at).total_seconds())
