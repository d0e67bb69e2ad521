"""The one place that touches the CEL library. Its type stubs need a package that it does not bring: ``Any`` ends here.

What is built here is immutable, and the library holds the GIL while it compiles and evaluates and calls nothing back. So
programs may be shared by threads; they take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from cel_expr_python import cel as _untyped

_cel = cast("Any", _untyped)

_LIBRARIES = ("strings", "math", "optional", "bindings", "encoders", "lists", "sets", "regex", "two-var-comprehensions")
_CONFIG = "name: mcp_workflows\nextensions:\n" + "".join(f"- name: {name}\n" for name in _LIBRARIES)

ERROR: object = _cel.Type.ERROR
"""The type of what a failed evaluation gives; its value is the message."""


class Value(Protocol):
    """What an evaluation gives; of a list or map, ``value()`` holds further ones."""

    def value(self) -> Any: ...
    def type(self) -> object: ...


class Program(Protocol):
    """A compiled expression."""

    def eval(self, *, data: Mapping[str, Any]) -> Value: ...
    def return_type(self) -> Any: ...
    def serialize(self) -> bytes: ...


class Environment(Protocol):
    """The variables and functions that exist. Both methods raise ``RuntimeError``."""

    def compile(self, expression: str) -> Program: ...
    def deserialize(self, serialized: bytes) -> Program: ...


@dataclass(frozen=True, slots=True)
class Overload:
    """One form of a function. Types are CEL's names in capitals: ``DYN STRING INT DOUBLE BOOL LIST MAP TIMESTAMP DURATION``.

    ``parameters`` begin with the receiver of a ``member`` function. It exists for the checker only.
    """

    function: str
    parameters: tuple[str, ...]
    returns: str
    member: bool = False


def new_environment(instants: Iterable[str], others: Iterable[str], overloads: Iterable[Overload]) -> Environment:
    """An environment with all of CEL's libraries, these variables, and these functions."""
    types = _cel.Type
    variables = dict.fromkeys(others, types.DYN) | dict.fromkeys(instants, types.TIMESTAMP)
    by_name: dict[str, list[Any]] = {}
    for overload in overloads:
        parameters = [getattr(types, name) for name in overload.parameters]
        name = "_".join((overload.function, *overload.parameters)).lower()
        made = _cel.Overload(
            f"mcp_workflows_{name}",
            return_type=getattr(types, overload.returns),
            parameters=parameters,
            is_member=overload.member,
        )
        by_name.setdefault(overload.function, []).append(made)
    # As an extension: declared any other way, an overload of an existing operator is a duplicate.
    extension = _cel.CelExtension("mcp_workflows", [_cel.FunctionDecl(name, forms) for name, forms in by_name.items()])
    return _cel.NewEnv(config=_cel.NewEnvConfigFromYaml(_CONFIG), variables=variables, extensions=[extension])
