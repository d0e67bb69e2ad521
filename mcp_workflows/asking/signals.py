"""What is sent to a run from outside: answers to its approvals, and signals. What does not fit is refused in words.

An approval is answered while it is asked, once; which wait is meant is part of the answer. A signal may come before the run
waits for it: it is kept until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from mcp_workflows.asking.waiting import Waiting, waiting_for
from mcp_workflows.definition.input_schema import fitted
from mcp_workflows.definition.phrases import listed
from mcp_workflows.definition.program import TIMEOUT, ApprovalWork, Definition, Json, SignalWork
from mcp_workflows.definition.walk import walk
from mcp_workflows.engine.paths import parent_of
from mcp_workflows.engine.places import step_at
from mcp_workflows.engine.records import Message, MessageKind, Run, StepRecord
from mcp_workflows.engine.states import StepStatus
from mcp_workflows.errors import InputRefused, PersonNeeded, RunRefused

_NAMED = 10
"""How many waits or paths a refusal names."""


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody sends. ``person``: the surface knows that a person decided. ``via`` is the surface's name."""

    name: str
    data: Json
    actor: str
    via: str
    person: bool
    decides: bool = False
    """It can only be meant for an approval."""
    wait: str | None = None
    """The ``Waiting.key`` of the one wait that it is for; ``name`` is then its path."""


@dataclass(frozen=True, slots=True)
class Posting:
    """The message to be put into the inbox. Of two with the same ``dedupe_key`` the second is refused."""

    kind: MessageKind
    body: Mapping[str, Json]
    dedupe_key: str | None = None


def posting(
    run: Run, definition: Definition, rows: Mapping[str, StepRecord], given: Given, now: datetime
) -> Posting | None:
    """What to send for ``given``; ``None``: the run neither waits for that nor takes it in advance.

    ``rows`` are the steps that wait. Raises ``RunRefused``, ``PersonNeeded`` and ``InputRefused``: nothing was changed.
    """
    waits = waiting_for(definition, rows)
    if given.wait is not None:
        return _for_one(run, next((wait for wait in waits if wait.key == given.wait), None), given, now)
    asked = _asked(run, waits, given.name)
    if asked is not None and asked.expires_at is not None and asked.expires_at <= now:
        raise RunRefused(_expired(run.run_id, asked.path, asked.expires_at))  # though no server was up to see it expire
    if asked is not None:
        return _answer(run, asked, given)
    signal = _signal(definition, given.name)
    if signal is None or given.decides or run.record.status.finished:
        return None
    waiting = any(wait.kind == "signal" and wait.name == given.name for wait in waits)
    data = _data(signal.schema, given.data, "The run still waits." if waiting else "Nothing was changed.")
    return _sent(given.name, data, given)


def _for_one(run: Run, wait: Waiting | None, given: Given, now: datetime) -> Posting | None:
    """For this wait and no other: the second answer to it is refused, whatever it is."""
    if wait is None:
        return None
    if wait.expires_at is not None and wait.expires_at <= now:
        raise RunRefused(_expired(run.run_id, wait.path, wait.expires_at))
    if wait.kind == "approval":
        return _answer(run, wait, given)
    data = _data(wait.schema, given.data, "The run still waits.")
    return replace(_sent(wait.name, data, given), dedupe_key=f"signal:{wait.key}")


def _sent(name: str, data: Json, given: Given) -> Posting:
    return Posting("signal", {"name": name, "data": data, "via": given.via})


def _signal(definition: Definition, name: str) -> SignalWork | None:
    """What a step says that waits for this signal. All of them say the same of its data."""
    works = (step.work for step in walk(definition))
    return next((work for work in works if isinstance(work, SignalWork) and work.name == name), None)


def _asked(run: Run, waits: Iterable[Waiting], name: str) -> Waiting | None:
    """The approval that is meant, by its name or by its path. In a loop only the path says which."""
    approvals = [wait for wait in waits if wait.kind == "approval"]
    meant = next((wait for wait in approvals if name in (wait.name, wait.path)), None)
    alike = [wait.path for wait in approvals if _last(wait.path) == name]
    if meant is None and alike:
        paths = ", ".join(alike[:_NAMED]) + (", …" if len(alike) > _NAMED else "")
        raise RunRefused(f'"{name}" stands in a loop of {run.run_id}. Say which one by its path: {paths}.')
    return meant


def _answer(run: Run, wait: Waiting, given: Given) -> Posting:
    if wait.by == "person" and not given.person:
        raise PersonNeeded(run.run_id, wait.name, wait.key, wait.expires_at)
    if wait.approvers is not None and given.actor not in wait.approvers:
        may = listed(wait.approvers[:_NAMED], "or") or "nobody"
        raise RunRefused(
            f'Refused: approval "{wait.name}" of {run.run_id} is answered by {may}, not by {given.actor}. The run still waits.'
        )
    answer = answer_data(wait, given.data)
    body: dict[str, Json] = {"path": wait.path, "generation": wait.generation, **answer, "via": given.via}
    return Posting("answer", body, dedupe_key=f"answer:{wait.path}:{wait.generation}")


def answer_data(wait: Waiting, data: Json) -> dict[str, Json]:
    """The decision as it is recorded. A form need not be filled in to say no. Raises ``InputRefused``."""
    schema: dict[str, Any] = {**(wait.schema or {}), "additionalProperties": False}
    properties: dict[str, Any] = schema["properties"]
    rejects = isinstance(data, Mapping) and cast("Mapping[str, Json]", data).get("decision") == "rejected"
    if "form" in properties and not rejects:
        schema["properties"] = {**properties, "form": {**properties["form"], "default": {}}}
    return cast("dict[str, Json]", _fit(schema, {} if data is None else data, "The run still waits."))


def _data(schema: Mapping[str, Json] | None, data: Json, state: str) -> Json:
    """The data of a signal as its schema makes it. Without one, anything is taken."""
    if schema is None:
        return _fit({}, data, state)
    return _fit(schema, {} if data is None else data, state)


def _fit(schema: Mapping[str, Json], data: Json, state: str) -> Json:
    try:
        return fitted(schema, data)
    except InputRefused as refused:
        raise InputRefused(f"data refused: {refused} {state}") from None
    except RecursionError:
        raise InputRefused(f"data refused: its schema refers to itself without end. {state}") from None


# Why something is not taken


def past_lists(messages: Iterable[Message], name: str) -> set[str]:
    """The lists that hold the steps which ``name`` may have meant: those of its latest answers, and its own as a path."""
    answered = [path for message in messages if (path := _answered_path(message, name))]
    return {parent_of(path) for path in (name, *answered[-_NAMED:])}


def not_taken(
    run: Run, definition: Definition, waits: Sequence[Waiting], given: Given, messages: Sequence[Message],
    past: Iterable[StepRecord],
) -> RunRefused:  # fmt: skip
    """Why ``name`` is not waited for: it was answered before, is over, comes too early, or is no such thing.

    ``past``: the rows of ``past_lists``.
    """
    name, run_id, status = given.name, run.run_id, run.record.status
    settled = {
        row.path: row for row in past
        if row.status.settled and (name in (row.path, _last(row.path))) and _is_approval(definition, row.path)
    }  # fmt: skip
    answers = [message for message in messages if _answered_path(message, name) in settled]
    if answers:
        return RunRefused(answered(answers[-1]))
    if settled:
        return RunRefused(_over(run_id, list(settled.values())[-1]))
    if status.finished:
        return RunRefused(f'{run_id} is {status}: it takes no "{name}" any more.')
    known = {step.name for step in walk(definition) if isinstance(step.work, ApprovalWork)}
    early = f'{run_id} does not wait for "{name}" yet: an approval can be answered once it is asked.'
    said = early if name in known else f'{run_id} does not wait for "{name}".'
    return RunRefused(f"{said} {_waits_for(waits)}{_takes(definition, waits)}")


def answers(message: Message, wait: str) -> bool:
    """Whether it is the answer to the approval that this ``Waiting.key`` names."""
    return message.kind == "answer" and f"{message.body.get('path')}#{message.body.get('generation')}" == wait


def answered(message: Message) -> str:
    """Of a wait that has its answer: whose it is."""
    body = message.body
    if message.kind == "signal":
        return f"{body.get('name')} was sent by {message.actor} at {_time(message.received_at)}."
    path = str(body.get("path"))
    return f"{_last(path)} was answered by {message.actor} at {_time(message.received_at)} ({body.get('decision')})."


def _over(run_id: str, row: StepRecord) -> str:
    if _ran_out(row):
        return _expired(run_id, row.path, row.finished_at)
    return f"{_last(row.path)} of {run_id} is {row.status}; it can be answered no more."


def _expired(run_id: str, path: str, at: datetime | None) -> str:
    when = f" at {_time(at)}" if at else ""
    return f"{_last(path)} of {run_id} has expired{when}; it can be answered no more."


def expired_at(row: StepRecord, now: datetime) -> datetime | None:
    """When the time of what the step of this row asks was over, be it seen by a server or not; ``None``: it was not."""
    if row.status is StepStatus.WAITING:
        return row.due_at if row.due_at is not None and row.due_at <= now else None
    return row.finished_at if row.status.settled and _ran_out(row) else None


def _ran_out(row: StepRecord) -> bool:
    """Whether the step of this row has ended because nobody answered in time."""
    error = row.error
    return _is_silence(row.output) if error is None else error.code == TIMEOUT or _is_silence(error.details)


def _is_silence(told: Json) -> bool:
    """A rejection that nobody spoke: ``on_timeout: reject``."""
    return isinstance(told, Mapping) and cast("Mapping[str, Json]", told).get("via") == TIMEOUT


def _waits_for(waits: Sequence[Waiting]) -> str:
    names = list(dict.fromkeys(wait.name for wait in waits))
    if not names:
        return "It waits for no answer now."
    return f"It waits for: {', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}."


def _takes(definition: Definition, waits: Sequence[Waiting]) -> str:
    waited = {wait.name for wait in waits}
    names = dict.fromkeys(step.work.name for step in walk(definition) if isinstance(step.work, SignalWork))
    more = [name for name in names if name not in waited]
    return f" It takes in advance: {', '.join(more[:_NAMED])}." if more else ""


def _answered_path(message: Message, name: str) -> str | None:
    if message.kind != "answer":
        return None
    path = str(message.body.get("path"))
    return path if name in (path, _last(path)) else None


def _is_approval(definition: Definition, path: str) -> bool:
    step = step_at(definition, path)
    return step is not None and isinstance(step.work, ApprovalWork)


def _last(path: str) -> str:
    """The step's own name."""
    return path[path.rfind(".") + 1 :]


def _time(when: datetime) -> str:
    return f"{when.astimezone(UTC):%H:%M} UTC"
