"""The one place that touches the CEL library, whose type stubs need a package it does not bring: ``Any`` ends here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol, cast

from cel_expr_python import cel  # pyright: ignore[reportMissingTypeStubs]

from mcp_workflows.definition.expressions.variables import INSTANTS, ROOTS, RUN

_cel = cast("Any", cel)

_LIBRARIES = ("strings", "math", "optional", "bindings", "encoders", "lists", "sets", "regex", "two-var-comprehensions")
_CONFIG = "name: mcp_workflows\nextensions:\n" + "".join(f"- name: {name}\n" for name in _LIBRARIES)


class Value(Protocol):
    """What an evaluation gives."""

    def value(self) -> Any: ...
    def type(self) -> Any: ...


class Program(Protocol):
    """A compiled expression."""

    def eval(self, *, data: Mapping[str, Any]) -> Value: ...
    def return_type(self) -> Any: ...
    def serialize(self) -> bytes: ...


class Environment(Protocol):
    """What compiles expressions: the variables and functions that exist."""

    def compile(self, expression: str) -> Program: ...


@lru_cache(maxsize=64)
def environment(items: frozenset[str]) -> Environment:
    """An environment with everything the language knows and ``items``, the names of loops' items."""
    kinds = _cel.Type
    variables = {name: kinds.DYN for name in (ROOTS - {"run"}) | items}
    variables |= {name: kinds.TIMESTAMP if name in INSTANTS else kinds.DYN for name in RUN}
    return _cel.NewEnv(config=_cel.NewEnvConfigFromYaml(_CONFIG), variables=variables)


ERROR = _cel.Type.ERROR
