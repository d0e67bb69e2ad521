"""``select`` of get_run: one part of what is known of a run, so that a large result can be read in pieces.

``result.installed[0:20]``, ``input.plan``, ``error``, ``steps``, ``steps.charge.output.items[3]``, ``trace``. Lists and
texts take Python's slices. A key that is no identifier is written ``["the key"]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from mcp_workflows.definition.program import Json

ROOTS = ("result", "input", "error", "steps", "trace")

_PART = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | \[(?P<index>-?\d{1,9})\]
      | \[(?P<start>-?\d{1,9})?:(?P<end>-?\d{1,9})?\]
      | \[(?P<key>"(?:[^"\\]|\\.)*")\]""",
    re.VERBOSE,
)


class SelectRefused(Exception):
    """The selection names nothing that is there; ``str()`` says what is."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What was found. ``of`` and ``start`` are said of a slice: how long the whole is, and where the slice begins."""

    value: Json
    of: int | None = None
    start: int = 0


def member_path(path: str, name: str) -> str:
    """The selection of a member, as ``select_from`` reads it."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name)
    return f"{path}.{name}" if plain else f"{path}[{json.dumps(name)}]"


def root_of(select: str) -> str:
    """The first name: which part of the run is needed to answer.

    Raises:
        SelectRefused: It is none of ``ROOTS``.
    """
    root = re.split(r"[.\[]", select, maxsplit=1)[0]
    if root not in ROOTS:
        raise SelectRefused(f'select "{select}" is not known. It begins with result, input, error, steps or trace.')
    return root


def select_from(value: Json, path: str, *, named: str) -> Selected:
    """Walk ``path`` (``.items[0:20]``) down from ``value``, which messages call ``named``.

    Raises:
        SelectRefused: The path is malformed, or leads nowhere.
    """
    position, found = 0, Selected(value)
    while position < len(path):
        part = _PART.match(path, position)
        if part is None:
            raise SelectRefused(
                f'select: "{path[position:]}" is not understood. Write .name, [3], [0:20] or ["a key"].'
            )
        found = _step(found.value, part, named + path[:position])
        position = part.end()
    return found


def step_path(select: str, paths: Sequence[str]) -> tuple[str, str]:
    """Which step ``steps.…`` means, and what is left of the text: the longest path that fits wins, as paths hold dots.

    Raises:
        SelectRefused: No step of that path has been recorded.
    """
    rest = select.removeprefix("steps.")
    fitting = [path for path in paths if rest == path or rest.startswith((f"{path}.", f"{path}["))]
    if not fitting:
        known = ", ".join(paths[-12:]) or "none yet"
        raise SelectRefused(f'select "{select}": no such step is recorded. Recorded: {known}.')
    longest = max(fitting, key=len)
    return longest, rest[len(longest) :]


def _step(value: Json, part: re.Match[str], where: str) -> Selected:
    if (index := part["index"]) is not None:
        return Selected(_element(value, int(index), where))
    name = part["name"] if part["name"] is not None else _key(part["key"])
    if name is not None:
        return Selected(_member(value, name, where))
    return _slice(value, part["start"], part["end"], where)


def _key(quoted: str | None) -> str | None:
    if quoted is None:
        return None
    try:
        return cast("str", json.loads(quoted))
    except ValueError:
        raise SelectRefused(f"select: [{quoted}] is no JSON text.") from None


def _member(value: Json, name: str, where: str) -> Json:
    if not isinstance(value, Mapping):
        raise SelectRefused(f"select: {where} is {_kind(value)} and has no {name}.")
    members = cast("Mapping[str, Json]", value)
    if name not in members:
        known = ", ".join(list(members)[:12]) or "nothing"
        raise SelectRefused(f"select: {where} has no {name}. It has {known}.")
    return members[name]


def _element(value: Json, index: int, where: str) -> Json:
    if not isinstance(value, list):
        raise SelectRefused(f"select: {where} is {_kind(value)}, not a list.")
    elements = cast("list[Json]", value)
    if not -len(elements) <= index < len(elements):
        raise SelectRefused(f"select: {where} has {len(elements)} elements; [{index}] is outside.")
    return elements[index]


def _slice(value: Json, start: str | None, end: str | None, where: str) -> Selected:
    if not isinstance(value, list | str):
        raise SelectRefused(f"select: {where} is {_kind(value)}; only a list or a text can be sliced.")
    whole = cast("list[Json] | str", value)
    wanted = slice(None if start is None else int(start), None if end is None else int(end))
    return Selected(whole[wanted], of=len(whole), start=wanted.indices(len(whole))[0])


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
