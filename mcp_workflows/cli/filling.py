"""An approval's form at the terminal: what is to be filled in, and what a person types as the JSON that it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import typer
from rich.markup import escape

from mcp_workflows.asking.fields import Choice, Field, as_json, fields_of, several
from mcp_workflows.asking.signals import answer_data
from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.cli.terminal import remark
from mcp_workflows.errors import InputRefused

_FEW: Final = 12
"""Choices that are named."""


def show_fields(wait: Waiting) -> None:
    """A line for each field, as ``--form`` wants it too: its name and what it takes."""
    for field in fields_of(wait):
        remark(f"[dim]form: {escape(field.name)} ({escape(', '.join(_said_of(field)))})[/]")


def fill_in(wait: Waiting) -> dict[str, Any]:
    """One field after the other, until it will do. What was typed before need not be typed again."""
    fields = fields_of(wait)
    typed = {field.name: _preset(field) for field in fields}
    while True:
        for field in fields:
            default = typed[field.name]
            typed[field.name] = typer.prompt(_prompt(field), default=default, show_default=bool(default), err=True)
        filled = {field.name: _meant(field, typed[field.name]) for field in fields if typed[field.name].strip()}
        try:
            answer_data(wait, {"decision": "approved", "form": filled})
        except InputRefused as refused:
            remark(f"[doubt]{escape(str(refused))}[/]")
        else:
            return filled


def _said_of(field: Field) -> Iterator[str]:
    if field.title and field.title.casefold() != field.name.replace("_", " ").casefold():
        yield field.title
    if field.choices:
        named = [choice.title for choice in field.choices]
        yield f"{'some' if field.kind == 'choices' else 'one'} of {' | '.join(named[:_FEW] + ['…'] * (len(named) > _FEW))}"
    elif field.item is not None:
        yield f"{field.item.rules['type']}s with commas between them"
    else:
        yield str(field.rules.get("type", "any"))
    if field.bounds:
        yield field.bounds
    if field.required:
        yield "required"
    if "default" in field.rules:
        yield f"default {as_json(field.rules['default'])}"
    if field.description:
        yield field.description


def _prompt(field: Field) -> str:
    label = field.title or field.description or field.name
    return label if label == field.name else f"{label} ({field.name})"


def _preset(field: Field) -> str:
    default = field.rules.get("default", "")
    return default if isinstance(default, str) else as_json(default)


def _meant(field: Field, typed: str) -> Any:
    """A choice is made by its title or its value. A list is one of commas, or JSON; all else is JSON, or else text."""
    match field.kind:
        case "text":
            return typed
        case "choice":
            return _choice(field.choices, typed)
        case "choices" if not typed.lstrip().startswith("["):
            return [_choice(field.choices, one) for one in several(typed)]
        case "list" if field.item is not None and not typed.lstrip().startswith("["):
            return [_meant(field.item, one) for one in several(typed)]
        case _:
            return _json(typed)


def _choice(choices: tuple[Choice, ...], typed: str) -> Any:
    said = typed.strip().lower()
    titled = [one.value for one in choices if one.title.lower() == said]
    named = [one.value for one in choices if said in (str(one.value).lower(), as_json(one.value).lower())]
    return next(iter(titled + named), typed)


def _json(typed: str) -> Any:
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed
