"""What may be named at each place of a definition, and what is wrong with a name that may not.

What a step sees is lexical: earlier siblings of its own list and of every list around it. So a scope is a position in
each of those lists, and whether a step is done there is a comparison of positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from mcp_workflows.definition.expressions import RUN, Expression, Reference, Template
from mcp_workflows.definition.phrases import did_you_mean, listed
from mcp_workflows.definition.text.document import Path

BASE_ROOTS = frozenset({"input", "vars", "secrets", "steps"}) | RUN
"""Known everywhere in a file."""
DEFAULT_ITEM = "item"
_PLACES = {
    "error": "on_error and compensate",
    "idempotency_key": "compensate",
    "result": "a step's output, success and poll",
    "callback_url": "the request of a step with callback",
    "index": "for_each and repeat",
    "state": "a repeat that has state",
}
_STEP_PARTS = ("status", "output", "error")
_ERROR_PARTS = ("code", "message", "in_doubt", "status", "body", "attempts", "step", "path", "details", "request")
_TYPES = {
    "string": "string",
    "integer": "int",
    "number": "double",
    "boolean": "bool",
    "null": "null",
    "array": "list",
    "object": "map",
}
"""JSON Schema's types, and what expressions call them."""
_WITHOUT_PARTS = ("string", "integer", "number", "boolean")
_SURE_ERROR_PARTS = frozenset({"code", "message", "in_doubt"})
"""What every error says; the others are there only of some, such as the status of an answer."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Fault(NamedTuple):
    """What is wrong with a reference; ``offset`` counts from the beginning of its expression."""

    offset: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Holder:
    """What a step stands in: a list that another step holds. ``kind``: ``switch``, ``on_error``, ``compensate`` …"""

    kind: str
    name: str
    id: str | None
    line: int
    siblings: Path
    """The list that the holding step stands in, and where in it."""
    index: int
    part: str = ""
    """The branch or the arm."""

    def __str__(self) -> str:
        if self.kind in ("on_error", "compensate"):
            return f'the {self.kind} of "{self.name}"'
        return f'{self.kind} "{self.id}"' if self.id else f"the {self.kind} at line {self.line}"

    @property
    def output(self) -> str:
        """How to read from outside what its steps gave."""
        if self.id is None:
            return "give that an id and read its output"
        return f"from outside read steps.{self.id}.output{f'.{self.part}' if self.kind == 'parallel' else ''}"


@dataclass(frozen=True, slots=True)
class StepName:
    """A step that has an id, what it stands in (outermost first), and what may keep it from having an output."""

    id: str
    siblings: Path
    """The list it stands in."""
    index: int
    line: int
    holders: tuple[Holder, ...] = ()
    no_output: str | None = None
    """Why it may have none, to follow its name."""
    no_output_though_completed: str | None = None
    """As ``no_output``, where it is known to be completed."""
    parts: tuple[str, ...] = ()
    """What its output has, where that is known."""
    collects_errors: bool | None = None
    """Of a ``for_each``: failed items are told in ``errors``."""


@dataclass(frozen=True, slots=True)
class Names:
    """All that a file declares."""

    input_schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    vars: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    secrets_line: int | None = None
    steps: Mapping[str, StepName] = field(default_factory=dict[str, StepName])
    items: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Names of loops' items, and in words the loops that know them."""

    def meant_by(self, name: str) -> str | None:
        """How to write what the file declares by that name, which is none by itself."""
        if name in self.steps and name not in self.items:
            return f"steps.{name}.output"
        roots = {"input": self.input_schema.get("properties"), "vars": self.vars, "secrets": self.secrets}
        return next((f"{root}.{name}" for root, known in roots.items() if known and name in known), None)


class Position(NamedTuple):
    """How far a list has come: so many steps are done, and ``at`` stands around the place, if any does."""

    done: int
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """One place of a file. ``place`` is its name in messages: ``when``, ``output`` …"""

    names: Names
    place: str
    positions: Mapping[Path, Position] = field(default_factory=dict[Path, Position])
    """How far each list around this place has come."""
    roots: frozenset[str] = BASE_ROOTS
    secrets: bool = False
    """Secrets may be named: what is rendered here is not recorded."""
    own: str | None = None
    """The step this place belongs to."""
    items: Mapping[str, int] = field(default_factory=dict[str, int])
    """Items of the loops around this place, and the lines that name them."""
    from_input: frozenset[str] = frozenset({"input"})
    """Roots that hold what the caller sent: ``input``, items of a list in it, a state that begins with it."""
    result_parts: tuple[str, ...] = ()
    """What ``result`` has, where that is known."""
    no_result: str | None = None
    """Why there may be no ``result``, to follow the step's name."""
    given: frozenset[str] = frozenset()
    """Arguments that are there for sure here: the step's ``when`` asks for them."""
    compensating: bool = False
    """Inside ``compensate``."""
    undoing: str | None = None
    """Inside ``compensate``: the step that is undone, if it has an id."""
    in_doubt_line: int | None = None
    """Inside ``compensate``: the line that says that the undone step may be without output."""

    def at(self, place: str, *roots: str, secrets: bool = False) -> Scope:
        return replace(self, place=place, roots=self.roots.union(roots), secrets=secrets)

    def inside(self, *roots: str) -> Scope:
        """What the steps of a list see that stands in this step, beside their own siblings."""
        return replace(self, roots=self.roots.union(roots), own=None)

    def after(self, siblings: Path, count: int, *roots: str) -> Scope:
        """What is seen when the ``count`` steps of a list in this step are done."""
        return replace(self, roots=self.roots.union(roots), positions={**self.positions, siblings: Position(count)})

    def with_item(self, name: str, line: int) -> Scope:
        return replace(self, roots=self.roots.union({name}), items={**self.items, name: line})

    def holding(self, name: str, value: Template | None) -> Scope:
        """``name`` stands for ``value`` here, or for a part of it: where one comes from input, so does the other."""
        if value is None or self.from_input.isdisjoint(value.names):
            return replace(self, from_input=self.from_input - {name})
        return replace(self, from_input=self.from_input | {name})

    def faults(self, reference: Reference) -> Iterator[Fault]:
        """All that is wrong with what an expression names."""
        root = str(reference.path[0])
        if root not in self.roots and (root in _PLACES or root in self.names.items):
            where = _PLACES.get(root) or listed(self.names.items[root][:3])
            yield Fault(reference.offsets[0], "expr", f'unknown name "{root}": it is there only in {where}')
            return
        match root:
            case "input":
                yield from self._input(reference)
            case "vars":
                yield from self._vars(reference)
            case "secrets":
                yield from self._secrets(reference)
            case "steps":
                yield from self._steps(reference)
            case "result":
                if self.no_result is not None:
                    message = f"there may be no result: this step {self.no_result}"
                    yield Fault(reference.offsets[0], "expr", message)
                elif self.result_parts and len(reference.path) > 1 and reference.path[1] not in self.result_parts:
                    yield _unknown(reference, 1, list(self.result_parts))
            case "error":
                yield from _parts_of_error(reference, 1)
            case _:
                pass

    def may_lack_input(self, reference: Reference) -> str | None:
        """The argument that this reads as if it were always given, or ``None``."""
        if reference.path[0] != "input" or len(reference.path) < 2 or reference.optional[1]:
            return None
        properties, required = (self.names.input_schema.get(word) for word in ("properties", "required"))
        name = str(reference.path[1])
        rules = cast("dict[str, Any]", properties).get(name) if isinstance(properties, dict) else None
        always = isinstance(required, list) and name in required
        return None if always or name in self.given or not isinstance(rules, dict) or "default" in rules else name

    def _input(self, reference: Reference) -> Iterator[Fault]:
        schema: Any = self.names.input_schema
        for position, part in enumerate(reference.path[1:], 1):
            if not isinstance(schema, dict):
                return
            mapping = cast("dict[str, Any]", schema)
            if mapping.get("type") in _WITHOUT_PARTS and not reference.optional[position]:
                where = _written(reference.path[:position])
                yield Fault(reference.offsets[position], "expr", f'{where} is {mapping["type"]} and has no "{part}"')
                return
            if not isinstance(part, str):
                return
            declared = mapping.get("properties")
            properties = cast("dict[str, Any]", declared) if isinstance(declared, dict) else {}
            if part not in properties:
                if mapping.get("additionalProperties") is False and not mapping.get("patternProperties"):
                    yield _unknown(reference, position, properties)
                return
            schema = properties[part]

    def type_of(self, expression: Expression) -> str | None:
        """What the caller's argument is, where the expression is that and nothing else; in the words of expressions."""
        if len(expression.references) != 1 or expression.references[0].path[0] != "input":
            return None
        path = expression.references[0].path
        if any(expression.references[0].optional) or expression.source.strip() != _written(path):
            return None
        schema: Any = self.names.input_schema
        for part in path[1:]:
            declared = cast("dict[str, Any]", schema).get("properties") if isinstance(schema, dict) else None
            schema = cast("dict[str, Any]", declared).get(str(part)) if isinstance(declared, dict) else None
        kind = cast("dict[str, Any]", schema).get("type") if isinstance(schema, dict) else None
        return _TYPES.get(kind) if isinstance(kind, str) else None

    def _vars(self, reference: Reference) -> Iterator[Fault]:
        if len(reference.path) > 1 and reference.path[1] not in self.names.vars:
            yield _unknown(reference, 1, sorted(self.names.vars))

    def _secrets(self, reference: Reference) -> Iterator[Fault]:
        if len(reference.path) < 2:
            yield Fault(reference.offsets[0], "secret", "name one secret: secrets.NAME")
            return
        name = str(reference.path[1])
        if name not in self.names.secrets:
            where = f" (line {self.names.secrets_line})" if self.names.secrets_line is not None else ""
            yield Fault(reference.offsets[1], "secret", f'"{name}" is not declared under secrets{where}')
        if not self.secrets:
            message = f'secrets.{name} may not stand in "{self.place}": it would be recorded'
            yield Fault(reference.offsets[0], "secret", message)

    def _steps(self, reference: Reference) -> Iterator[Fault]:
        if len(reference.path) < 2 or not isinstance(reference.path[1], str):
            yield Fault(reference.offsets[0], "expr", "name one step: steps.<id>.output")
            return
        if not self.positions and self.own is None:
            yield Fault(reference.offsets[0], "expr", "steps may not be named in services, which many steps share")
            return
        name = reference.path[1]
        step = self.names.steps.get(name)
        if step is None:
            near = did_you_mean(name, self.names.steps)
            yield Fault(reference.offsets[1], "expr", f'unknown step "{name}"{"." if near else ""}{near}')
            return
        fault = self._not_done(step)
        if fault is not None:
            yield Fault(reference.offsets[1], "expr", fault)
        else:
            yield from self._part_of_step(step, reference)

    def _not_done(self, step: StepName) -> str | None:
        if step.id == self.own:
            hint = ": name it result" if "result" in self.roots else ""
            hint = ": its failure is error" if "error" in self.roots and not self.compensating else hint
            return f'step "{step.id}" is not done here; it is this step{hint}'
        if step.siblings not in self.positions:
            return self._inside(step)
        here = self.positions[step.siblings]
        if step.index < here.done:
            return None
        where = "stands around this one" if step.index == here.at else f"stands at line {step.line}, after this one"
        return f'step "{step.id}" is not done here; it {where}'

    def _inside(self, step: StepName) -> str:
        """Why a step in a list that is not around this place cannot be read."""
        first = max(at for at, holder in enumerate(step.holders) if holder.siblings in self.positions)
        undoing = next((holder for holder in step.holders[first:] if holder.kind == "compensate"), None)
        if undoing is not None:
            return f'step "{step.id}" is inside {undoing}; from outside it cannot be read'
        holder = step.holders[first]
        here = self.positions[holder.siblings]
        if holder.index < here.done:
            return f'step "{step.id}" is inside {holder}; {holder.output}'
        if holder.index != here.at:
            where = f", which stands at line {holder.line}" if holder.id else ""
            return f'step "{step.id}" is inside {holder}{where}, after this one'
        if holder.kind == "parallel":
            return f'step "{step.id}" is in branch "{holder.part}" of {holder}; branches do not see one another'
        if holder.kind == "switch":
            return f'step "{step.id}" is in another arm of {holder}'
        return f'step "{step.id}" is inside {holder}, and not done here'

    def _part_of_step(self, step: StepName, reference: Reference) -> Iterator[Fault]:
        if len(reference.path) < 3:
            return
        part = str(reference.path[2])
        parts = (*_STEP_PARTS, "errors") if step.collects_errors else _STEP_PARTS
        if part not in parts:
            near = did_you_mean(part, parts)
            hint = f"A step has {listed(parts)}.{near}".removesuffix(".")
            if part == "errors" and step.collects_errors is False:
                hint = "It is there with on_item_error: collect"
            yield Fault(reference.offsets[2], "expr", f'unknown name "steps.{step.id}.{part}". {hint}')
            return
        if part == "error":
            yield from _parts_of_error(reference, 3)
        elif part == "output" and len(reference.path) > 3 and step.parts and reference.path[3] not in step.parts:
            yield _unknown(reference, 3, list(step.parts))
        if reference.optional[2]:
            return
        why = self._may_lack(step, part)
        if why is not None:
            yield Fault(reference.offsets[1], "expr", f'step "{step.id}" {why}: write {_optional(reference)}')

    def _may_lack(self, step: StepName, part: str) -> str | None:
        """Why the step may be without ``part`` here, or ``None``."""
        if part == "status":
            return None
        if part == "error":
            return "has an error only if it failed"
        if step.id != self.undoing:
            return step.no_output
        line = self.in_doubt_line
        if line is not None:
            return f"may have no output here (in_doubt, line {line})"
        return step.no_output_though_completed


def _parts_of_error(reference: Reference, position: int) -> Iterator[Fault]:
    """``position`` is that of the error's part, if one is named."""
    if len(reference.path) <= position:
        return
    part = str(reference.path[position])
    if part not in _ERROR_PARTS:
        yield _unknown(reference, position, list(_ERROR_PARTS))
    elif part not in _SURE_ERROR_PARTS and not any(reference.optional[position - 1 : position + 1]):
        error = _written(reference.path[:position])
        yield Fault(reference.offsets[position], "expr", f"not every error has {part}: write {error}.?{part}")


def _unknown(reference: Reference, position: int, known: Mapping[str, object] | list[str]) -> Fault:
    path = reference.path[: position + 1]
    parent = _written(path[:-1])
    has = f"has {', '.join(known)}" if known else "is empty"
    return Fault(
        reference.offsets[position], "expr", f'unknown name "{_written(path)}". {parent[:1].upper()}{parent[1:]} {has}'
    )


def _written(path: tuple[str | int, ...]) -> str:
    """The chain as an author would write it."""
    text = str(path[0])
    for part in path[1:]:
        text += f".{part}" if isinstance(part, str) and _IDENTIFIER.fullmatch(part) else f"[{_literal(part)}]"
    return text


def _optional(reference: Reference) -> str:
    """The chain with ``?`` from the first element that may be absent."""
    text = f"steps.{reference.path[1]}"
    for part in reference.path[2:]:
        if isinstance(part, str) and _IDENTIFIER.fullmatch(part):
            text += f".?{part}"
        else:
            text += f"[?{_literal(part)}]"
    return text


def _literal(part: str | int) -> str:
    return f'"{part}"' if isinstance(part, str) else str(part)
