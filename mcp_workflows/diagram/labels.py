"""What a step is called in a diagram, and how any text is put into Mermaid without being taken for Mermaid."""

from __future__ import annotations

import re
from typing import cast

from mcp_workflows.definition.expressions import Expression, Template
from mcp_workflows.definition.expressions.template import Joined
from mcp_workflows.definition.program import (
    ApprovalWork,
    FailWork,
    ForEachWork,
    HttpWork,
    Json,
    McpToolWork,
    PythonWork,
    RepeatWork,
    ReturnWork,
    SetWork,
    SignalWork,
    Step,
    SwitchWork,
    WaitWork,
    WorkflowWork,
)

LONGEST = 80
"""Characters of one line of a label."""

_ENTITIES = {'"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"}
_AS_THEY_ARE = frozenset(" .,:/-_=+*()[]{}'!?$#@|~^…")
"""``#`` begins an entity only where ``;`` ends it, and ``%`` a directive, also within quotes."""
_LIST = re.compile(r"\d+\.|[-*+]")
"""How a label must not begin, for it would be read as a Markdown list."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def label(*lines: str) -> str:
    """A quoted label of these lines; empty ones are left out."""
    return f'"{"<br>".join(escaped(line) for line in lines if line)}"'


def escaped(text: str) -> str:
    """One line whose every character stands for itself, cut where it is too long."""
    line = " ".join(text.split())
    line = line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
    begun = _LIST.match(line)
    at = begun.end() - 1 if begun else -1
    return "".join(_character(one, plain=place != at) for place, one in enumerate(line))


def _character(one: str, *, plain: bool) -> str:
    if plain and (one.isalnum() or one in _AS_THEY_ARE):
        return one
    return _ENTITIES.get(one) or (f"#{ord(one)};" if one.isprintable() else " ")


def name_of(step: Step) -> str:
    """How its author and the reader of a run know it."""
    name = step.id or step.name
    return f"{name}: {step.title}" if step.title else name


def work_of(step: Step) -> str:
    """What it does, in a few words; nothing where its name says it."""
    match step.work:
        case HttpWork(method=method, url=url):
            return f"{method} {_place(url)}"
        case PythonWork(call=call):
            return f"function {call}"
        case McpToolWork(service=service, tool=tool):
            return f"tool {tool} of {service}" if tool else f"the tools of {service}"
        case WorkflowWork(name=name, detach=detach):
            return f"{'starts' if detach else 'runs'} {name}"
        case SignalWork(name=name, timeout=timeout):
            return f"waits for the signal {name}{_at_most(timeout)}"
        case ApprovalWork(by=by, timeout=timeout, message=message):
            return f"{'a person' if by == 'person' else 'somebody'} decides{_at_most(timeout)}: {text_of(message)}"
        case _:
            return _of_order(step)


def _of_order(step: Step) -> str:
    """Of a step that calls nothing and asks nobody."""
    match step.work:
        case SetWork(values=values):
            return f"sets {', '.join(cast('dict[str, Json]', values.shape))}"
        case WaitWork(seconds=seconds, until=until):
            return f"waits {span(seconds)}" if seconds is not None else f"waits until {text_of(until)}"
        case ReturnWork():
            return "ends the run: completed"
        case FailWork(message=message):
            return f"ends the run: failed, {text_of(message)}"
        case SwitchWork(value=value):
            return "" if value is None else f"which {text_of(value)}?"
        case ForEachWork(items=items, concurrency=concurrency):
            return f"for each of {text_of(items)}{f', {concurrency} at a time' if concurrency > 1 else ''}"
        case RepeatWork():
            return _rounds(step.work)
        case _:
            return step.kind


def text_of(template: Template | None) -> str:
    """A template as its author wrote it; a text that is one expression without ``${}``."""
    return "" if template is None else _text(template.shape)


def span(seconds: float) -> str:
    """``3d``, ``90m``, ``1.5s``: in the largest unit that divides it."""
    for size, unit in _UNITS:
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def _rounds(work: RepeatWork) -> str:
    until = f"until {work.until.source}" if work.until is not None else ""
    most = f"{work.max_iterations} times at most" if work.max_iterations is not None else ""
    every = f"every {span(work.every)}" if work.every else ""
    return f"again {', '.join(filter(None, (until, every, most)))}"


def _at_most(timeout: float | None) -> str:
    return "" if timeout is None else f", {span(timeout)} at most"


def _place(url: Template) -> str:
    """Without what it begins with, where that is an expression: the address of a service says nothing here."""
    match url.shape:
        case Joined(pieces=(Expression(), *rest)) if rest:
            return _text(Joined(tuple(rest)))
        case _:
            return text_of(url)


def _text(shape: Json) -> str:
    match shape:
        case Expression(source=source):
            return source
        case Joined(pieces=pieces):
            return "".join(piece if isinstance(piece, str) else f"${{{piece.source}}}" for piece in pieces)
        case dict() | list():
            return "…"
        case _:
            return str(shape)
