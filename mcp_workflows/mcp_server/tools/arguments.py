"""Checking what clients send before anything is done with it. What the tools' schemas say is enforced as it is published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from mcp_types import Tool

from mcp_workflows.definition.durations import parse_duration
from mcp_workflows.definition.input_schema import check_json
from mcp_workflows.definition.program import Json
from mcp_workflows.definition.violations import shown, violations
from mcp_workflows.errors import InputRefused


class ArgumentsRefused(Exception):
    """``str()`` says which argument, what it is, and what was expected."""


_LONGEST_KEY = 200


def idempotency_key_of(value: Json) -> str | None:
    """The key, or none. Raises ``ArgumentsRefused``."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ArgumentsRefused(f"_idempotency_key: {shown(value)} is not a string.")
    if not 1 <= len(value) <= _LONGEST_KEY or not value.isprintable():
        raise ArgumentsRefused(f"_idempotency_key: expected 1 to {_LONGEST_KEY} printable characters.")
    return value


def since_of(value: str | None, now: datetime) -> datetime | None:
    """An instant of ISO 8601, or how long ago: ``30m``, ``2h``, ``7d``. Raises ``ArgumentsRefused``."""
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        instant = None
    if instant is not None and instant.tzinfo is None:
        raise ArgumentsRefused(f'since: "{value}" has no zone; write {value}Z.')
    if instant is not None:
        return instant
    try:
        return now - timedelta(seconds=parse_duration(value))
    except ValueError:
        raise ArgumentsRefused(f'since: "{value[:40]}" is neither an ISO time nor a time like 30m, 2h or 7d.') from None


def check_readable(arguments: Mapping[str, Json]) -> None:
    """Refuse what no store or transport could carry further: halves of surrogate pairs, and bottomless nesting.

    Raises:
        ArgumentsRefused: With what is wrong.
    """
    try:
        json.dumps(arguments, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise ArgumentsRefused(f"A text holds half of a surrogate pair ({half}), which is no character.") from None
    except RecursionError:
        raise ArgumentsRefused("The arguments are nested too deeply.") from None


def check_against(tool: Tool, arguments: Mapping[str, Json]) -> None:
    """Hold the arguments of a built-in tool against its published schema. Raises ``ArgumentsRefused``."""
    try:
        check_json(arguments)
    except InputRefused as refused:
        raise ArgumentsRefused(str(refused)) from None
    wrong = violations(tool.input_schema, arguments)
    if wrong:
        raise ArgumentsRefused(" ".join(wrong))
