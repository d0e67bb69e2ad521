"""What CEL is given: of each value the part that the expression reads, checked, and nothing else.

The library converts what is bound anew at each evaluation, at a cost that grows with its size. So a value is cut down to
the constant paths that are read; a key that is absent stays absent, and what is not a map or a list stays as it is, so
the expression cannot tell. On the way everything is refused that would crash the library or come back changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from mcp_workflows.definition.expressions.chains import Chain
from mcp_workflows.definition.expressions.values import Unusable, checked

Json = Any

_INDEXED = 64
"""Of a list only a prefix is bound where all that is read of it are constant indices below this."""
_LOOPED_TEXT = 64 * 1024
"""Characters of one text from outside that a loop may read: a loop can join it to every element."""

_REPEATED_SIZE = 2_000
"""Elements, counting 64 characters of a text as one, that each turn of a loop may have converted from outside."""


@dataclass(slots=True)
class _Read:
    """What is read of one value. ``whole``: all of it, or it is unknown what."""

    whole: bool = False
    looped: bool = False
    parts: dict[str | int, _Read] = field(default_factory=dict["str | int", "_Read"])


class Binding:
    """What the chains of one expression read, as a plan that is followed at each evaluation."""

    def __init__(self, chains: Iterable[Chain], *, repeated: bool = False, local: frozenset[str] = frozenset()) -> None:
        roots: dict[str, tuple[str, str | None, _Read]] = {}
        for chain in chains:
            parts = chain.parts
            step = None
            if chain.root == "steps" and parts:
                step, parts = str(parts[0].key), parts[1:]
            _, _, read = roots.setdefault(chain.name, (chain.root, step, _Read()))
            _add(read, [part.key for part in parts], looped=chain.looped)
        self._plan = tuple(
            (name, root, step, _light(_cutter(read)) if repeated and root not in local else _cutter(read))
            for name, (root, step, read) in roots.items()
        )

    def bind(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """The variables for one evaluation. A name that ``values`` lacks is left out. Raises ``Unusable``."""
        bound: dict[str, Json] = {}
        for name, root, step, cut in self._plan:
            try:
                value = values[name]
            except (KeyError, ValueError):  # a loop variable that failed fails where it is needed
                if step is not None:
                    bound.setdefault(root, {})
                continue
            if step is None:
                bound[root] = cut(value)
            else:
                bound.setdefault(root, {})[step] = cut(value)
        return bound


def _add(read: _Read, keys: list[str | int], *, looped: bool) -> None:
    for key in keys:
        read = read.parts.setdefault(key, _Read())
    read.whole = True
    read.looped = read.looped or looped


def _cutter(read: _Read) -> Callable[[Json], Json]:
    if read.whole or not read.parts:
        return _bounded if _any_looped(read) else checked
    cutters = {key: _cutter(part) for key, part in read.parts.items()}
    indices = [key for key in cutters if isinstance(key, int)]
    reach = max(indices, default=-1) + 1
    narrow_lists = all(0 <= index < _INDEXED for index in indices)

    def cut(value: Json) -> Json:
        if type(value) is dict:
            found = cast("dict[str, Json]", value)
            return {key: part(found[key]) for key, part in cutters.items() if type(key) is str and key in found}
        if type(value) is list and narrow_lists:
            elements = cast("list[Json]", value)[:reach]
            return [cutters[i](element) if i in cutters else None for i, element in enumerate(elements)]
        return checked(value)

    return cut


def _any_looped(read: _Read) -> bool:
    return read.looped or any(_any_looped(part) for part in read.parts.values())


def _light(cut: Callable[[Json], Json]) -> Callable[[Json], Json]:
    """What is bound again for each element of a loop has to be small."""

    def cut_light(value: Json) -> Json:
        part = cut(value)
        if _weight(part, _REPEATED_SIZE) < 0:
            raise Unusable(f"more than {_REPEATED_SIZE:,} elements are read anew for each element of a loop")
        return part

    return cut_light


def _weight(value: Json, room: int) -> int:
    """What is left of ``room`` after ``value``; below zero, it does not fit."""
    if isinstance(value, str):
        return room - len(value) // 64 - 1
    if isinstance(value, list | dict):
        container = cast("list[Json] | dict[str, Json]", value)
        for part in container.values() if isinstance(container, dict) else container:
            if room < 0:
                break
            room = _weight(part, room)
    return room - 1


def _bounded(value: Json) -> Json:
    if isinstance(value, str) and len(value) > _LOOPED_TEXT:
        raise Unusable(
            f"a text of {len(value):,} characters is read inside a loop; there the limit is {_LOOPED_TEXT:,}"
        )
    return checked(value)
