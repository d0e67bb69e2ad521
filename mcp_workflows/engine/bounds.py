"""How much a run may record of what it computes.

What services answer is bounded where it is read. What expressions make of it could still grow without end, by a state that
doubles or a list that is collected, and would fill the database and stop the whole process while it is written. So all of
it is measured first.
"""

from __future__ import annotations

from typing import cast

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Json

MAX_OUTPUT_BYTES = 1 << 20
"""What one step gives, and one state, element or item of a loop: unless a node is told otherwise."""
TIMES_FOR_BLOCKS = 16
"""What holds the outputs of many steps may be larger than one by so much: blocks, lists, children, the run's result."""
DEPTH = 128
"""Levels of lists and maps in one value."""


class TooLarge(ExpressionFailed):
    """What was computed is more than may be recorded."""

    code = "output_too_large"

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(
            f"{what} more than {limit:,} bytes of JSON, the most that can be recorded: keep less of it, or keep the data in a "
            "service or a blob and hand on where it is",
            "",
        )


class Room:
    """What is left of ``limit`` bytes for several values together."""

    __slots__ = ("_left", "_limit", "_what")

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._limit = self._left = limit

    def note(self, value: Json) -> None:
        """``value`` is there already."""
        self._left = left_after(value, self._left)

    def take(self, value: Json) -> None:
        """Raises ``TooLarge``."""
        self.note(value)
        if self._left < 0:
            raise TooLarge(self._what, self._limit)


def bounded(value: Json, limit: int, what: str) -> Json:
    """``value``. ``what`` begins the sentence that says what is too large. Raises ``ExpressionFailed``."""
    if left_after(value, limit) < 0:
        raise TooLarge(what, limit)
    return value


def left_after(value: Json, room: int, depth: int = DEPTH) -> int:
    """``room`` without the size of ``value`` as JSON, about; negative as soon as it does not suffice.

    A value may hold the same part very often, so it is not looked at any further than the room goes.
    """
    kind = cast("type[object]", type(value))
    if kind is str:
        return room - len(value) - 2
    if kind is not dict and kind is not list:
        return room - 6
    if depth == 0:
        raise ExpressionFailed(f"a value is nested deeper than {DEPTH} levels, the most that can be recorded", "")
    room -= 2
    if kind is dict:
        for key, part in value.items():
            room = left_after(part, room - len(key) - 4, depth - 1)
            if room < 0:
                break
    else:
        for part in value:
            room = left_after(part, room - 1, depth - 1)
            if room < 0:
                break
    return room
