"""What another kind of work than ``http`` gives, on its way to being recorded: the same limits as for answers hold."""

from __future__ import annotations

from mcp_workflows.definition.json_text import to_ascii
from mcp_workflows.definition.program import Json
from mcp_workflows.steps.answer import AnswerUnreadable, parsed


class NotJson(Exception):
    """The value is none that JSON, or a record, can hold. The message is the end of "what it returned …"."""


class TooLarge(Exception):
    """The value is larger than a step may keep. The message is the end of "what it returned …"."""


def recordable(value: Json, limit: int) -> Json:
    """A copy of ``value`` made of plain JSON, ``limit`` bytes of it at most. Raises ``NotJson`` and ``TooLarge``."""
    try:
        text = to_ascii(value)
    except RecursionError:
        raise NotJson("is nested too deeply, or holds itself") from None
    except (TypeError, ValueError) as error:
        raise NotJson(f"is no JSON: {error}") from None
    if len(text) > limit:
        raise TooLarge(f"is larger than {limit} bytes as JSON ({len(text)})")
    try:
        return parsed(text)
    except AnswerUnreadable as unreadable:
        raise NotJson(str(unreadable)) from None
