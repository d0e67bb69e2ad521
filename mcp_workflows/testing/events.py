"""What people and other systems do to a run in a test: signals, decisions, corrections, a cancel.

What a server would refuse, a test cannot rely on: the rules are those of ``asking``.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from mcp_workflows.asking.resuming import resumable, resume_body
from mcp_workflows.asking.signals import Given, posting
from mcp_workflows.definition.program import Json, SignalWork
from mcp_workflows.engine.records import MessageKind
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import CallerError
from mcp_workflows.testing.model import Cancel, Resume, Signal
from mcp_workflows.testing.outline import Key
from mcp_workflows.testing.result import TestBroken
from mcp_workflows.testing.simulation import Moment, Planned

_SURFACE = "test"


def signal(given: Signal) -> Planned:
    """A signal, once the run waits for one of this name."""
    name = given.name or ""

    def fits(moment: Moment) -> bool:
        works = (moment.outline.step_at(path).work for path in moment.record.waiting_for)
        return any(isinstance(work, SignalWork) and work.name == name for work in works)

    sent = Given(name, given.data, given.by, _SURFACE, person=True)
    return Planned(fits, lambda moment: _posted(moment, sent, f'signal "{name}"'), given.by, given.at)


def decision(given: Signal, key: Key) -> Planned:
    """The answer to an approval, once the run waits for it."""
    answer = {"decision": given.decision, "note": given.note, "form": given.form}
    data = {name: value for name, value in answer.items() if value is not None}

    def waiting(moment: Moment) -> str | None:
        return next(filter(key.matches, moment.record.waiting_for), None)

    def message(moment: Moment) -> tuple[MessageKind, Mapping[str, Json]]:
        path = waiting(moment)
        if path is None:
            raise TestBroken(f'the run does not wait for "{given.step}" at that time; a decision is not kept for later')
        meant = Given(path, data, given.by, _SURFACE, person=True, decides=True)
        return _posted(moment, meant, f'the decision of "{given.step}"')

    return Planned(lambda moment: waiting(moment) is not None, message, given.by, given.at)


def cancel(given: Cancel) -> Planned:
    """A cancel, as soon as the run waits or is paused."""

    def fits(moment: Moment) -> bool:
        return moment.record.status in (RunStatus.WAITING, RunStatus.PAUSED) and not moment.in_flight

    return Planned(fits, lambda _: ("cancel", {"compensate": given.compensate}), at=given.at)


def resume(given: Resume) -> Planned:
    """What a person does with a run that stands still."""
    correction = given.model_dump(include=given.model_fields_set - {"at"})

    def message(moment: Moment) -> tuple[MessageKind, Mapping[str, Json]]:
        if not resumable(moment.record):
            raise TestBroken(f"the run is {moment.record.status} at that time: there is nothing to resume")
        with _as_a_server_does("resume"):
            return "resume", resume_body(moment.run, moment.outline.definition, moment.needed, correction, person=True)

    return Planned(lambda moment: resumable(moment.record), message, at=given.at)


def _posted(moment: Moment, given: Given, what: str) -> tuple[MessageKind, Mapping[str, Json]]:
    with _as_a_server_does(what):
        sent = posting(moment.run, moment.outline.definition, moment.waits, given, moment.now)
    if sent is None:
        raise TestBroken(f"{what} would not be taken: {moment.outline.definition.name} takes none of that name then")
    return sent.kind, sent.body


@contextmanager
def _as_a_server_does(what: str) -> Generator[None]:
    try:
        yield
    except CallerError as refused:
        raise TestBroken(f"{what} would not be taken: {refused}") from None
