"""A fast path for expressions that only walk down: ``input.email``, ``steps.a.?output.id``, ``has(input.note)``.

Nearly all expressions of a definition are such chains, and walking costs a tenth of asking CEL. It gives what CEL gives;
a property test holds the two against each other. But the value found is handed on as it is: a text that CEL cannot take
(NUL, broken Unicode) passes where nothing is computed with it, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from mcp_workflows.definition.expressions.chains import Chain, Part
from mcp_workflows.definition.expressions.values import ABSENT, Unusable, iso_text, kind_name

Json = Any
Walk = Callable[[Mapping[str, Json]], Json]

MISSING = object()


def walk_of(chain: Chain) -> Walk | None:
    """What evaluates ``chain`` without CEL, or ``None`` where that is CEL's to do. Raises ``Unusable``."""
    name = chain.name
    parts = chain.parts[1:] if chain.root == "steps" else chain.parts
    if chain.root == "steps" and (not chain.parts or chain.parts[0].optional or chain.parts[0].tested):
        return None
    if any(isinstance(part.key, int) and part.key < 0 for part in parts):
        return None
    optional = any(part.optional for part in parts)
    if parts and parts[-1].tested:
        return None if optional else _tester(name, chain, parts)
    if all(type(part.key) is str for part in parts) and not optional:
        return _plain_walk(name, chain, tuple(str(part.key) for part in parts))
    return _walk(name, chain, parts)


def _plain_walk(name: str, chain: Chain, keys: tuple[str, ...]) -> Walk:
    """The commonest form, with nothing in its way."""

    def walk(values: Mapping[str, Json]) -> Json:
        try:
            value = values[name]
            for key in keys:
                if value.__class__ is not dict:
                    raise Unusable(missing(chain, values))
                value = value[key]
        except KeyError:
            raise Unusable(missing(chain, values)) from None
        return iso_text(value) if isinstance(value, datetime) else value

    return walk


def _walk(name: str, chain: Chain, parts: tuple[Part, ...]) -> Walk:
    def walk(values: Mapping[str, Json]) -> Json:
        try:
            value = values[name]
        except KeyError:
            raise Unusable(missing(chain, values)) from None
        optional = False
        for part in parts:
            optional = optional or part.optional
            found = child(value, part.key)
            # Behind an optional element every key is optional too; an index is not.
            if found is MISSING and optional and (part.optional or type(value) is dict):
                return ABSENT
            if found is MISSING or found is WRONG_KIND:
                raise Unusable(missing(chain, values))
            value = found
        return iso_text(value) if isinstance(value, datetime) else value

    return walk


def _tester(name: str, chain: Chain, parts: tuple[Part, ...]) -> Walk:
    *above, last = parts

    def walk(values: Mapping[str, Json]) -> Json:
        value = values.get(name, MISSING)
        for part in above:
            value = child(value, part.key)
        if not isinstance(value, dict):
            raise Unusable(missing(chain, values))
        return last.key in cast("dict[str, Json]", value)

    return walk


WRONG_KIND = object()


def child(value: Json, key: str | int) -> Json:
    """What ``key`` is in ``value``; ``MISSING`` where it is not, ``WRONG_KIND`` where ``value`` can have no such key."""
    if isinstance(value, dict):
        return cast("dict[str | int, Json]", value).get(key, MISSING)
    if isinstance(value, list) and isinstance(key, int):
        elements = cast("list[Json]", value)
        return elements[key] if key < len(elements) else MISSING
    return WRONG_KIND


def missing(chain: Chain, values: Mapping[str, Json]) -> str:
    """In words, where ``chain`` ends too early in ``values``; empty if it does not, or that is provided for."""
    written = chain.name
    try:
        value = values[chain.name]
    except KeyError:
        return f"{written} has no value here"
    for part in chain.parts[1:] if chain.root == "steps" else chain.parts:
        found = child(value, part.key)
        if found is MISSING:
            if part.optional or part.tested or part.assured:
                return ""
            if isinstance(value, list):
                return f"{written} has {len(cast('list[Json]', value))} elements, so no [{part.key}]"
            return f'{written} has no "{part.key}"'
        if found is WRONG_KIND:
            return "" if part.assured else f'{written} is {kind_name(value)}, so it has no "{part.key}"'
        value = found
        written += f".{part.key}" if isinstance(part.key, str) else f"[{part.key}]"
    return ""
