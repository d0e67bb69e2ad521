"""The functions that definitions may call on this node: found once, at start, in the modules that the settings name."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, cast

from pydantic import PydanticUserError, ValidationError, validate_call
from pydantic_core import PydanticSerializationError, to_jsonable_python

from mcp_workflows.definition.program import Json
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.functions import MARK
from mcp_workflows.steps.recordable import NotJson

SETTING: Final = "MCP_WORKFLOWS_FUNCTIONS"
_EMPTY: Final = inspect.Parameter.empty


class ArgumentsInvalid(Exception):
    """The arguments do not fit the function's signature. The message names each of them, and holds no values."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One function. ``bind`` checks arguments and converts them as the annotations say; it runs the author's validators."""

    name: str
    target: Callable[..., Any]
    is_async: bool
    bind: Callable[[Mapping[str, Json]], tuple[tuple[Any, ...], dict[str, Any]]]
    source: str
    """The module it was found in."""


def find_functions(modules: Collection[str]) -> dict[str, Registered]:
    """Imports the modules and gathers what is marked in them, by name.

    Modules are also looked for in the working directory. Raises ``SettingsInvalid``, which names the
    module and what to do.
    """
    if modules and os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109  # entries of sys.path are texts
        sys.path.append(os.getcwd())  # noqa: PTH109  # last, so that no file lying about hides an installed package
    found: dict[str, Registered] = {}
    for name in modules:
        module = _imported(name)
        members = vars(module)
        marked = [value for value in members.values() if isinstance(getattr(value, MARK, None), str)]
        if not marked:
            raise SettingsInvalid(
                f'{SETTING}: the module "{name}" has no function for steps: decorate one with @mcp_workflows.function'
            )
        for target in marked:
            _add(found, _registered(target, name))
    return found


def unknown_function(name: str, found: Mapping[str, Registered]) -> str:
    """What to say of a function that is not here."""
    if not found:
        return f'the function "{name}" is not known here: {SETTING} names no module; set it to the one that defines it'
    modules = ", ".join(sorted({function.source for function in found.values()}))
    return (
        f'the function "{name}" is not known here: {modules} ({SETTING}) have {", ".join(sorted(found))}; '
        "decorate it with @mcp_workflows.function, or name its module"
    )


def to_json(value: Any) -> Json:
    """What a function returned, as JSON: models, dataclasses, dates and the like as Pydantic writes them.

    Raises ``NotJson``.
    """
    try:
        return to_jsonable_python(value, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise NotJson(f"is no JSON: {error}") from None


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and (name == missing.name or name.startswith(missing.name + ".")):
            raise SettingsInvalid(
                f'{SETTING}: there is no module "{name}" in the working directory ({os.getcwd()}) '  # noqa: PTH109
                "nor among the installed packages. Correct the name, or start where the module lies"
            ) from None
        raise SettingsInvalid(
            f'{SETTING}: the module "{name}" needs "{missing.name}", which is not installed. Install it'
        ) from None
    except Exception as error:
        raise SettingsInvalid(f'{SETTING}: the module "{name}" cannot be imported: {_last_line(error)}') from error
    except SystemExit as end:
        raise SettingsInvalid(
            f'{SETTING}: the module "{name}" ends the process when it is imported. '
            'Guard what only a script should do with: if __name__ == "__main__"'
        ) from end


def _last_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def _add(found: dict[str, Registered], function: Registered) -> None:
    other = found.setdefault(function.name, function)
    if other.target is not function.target:
        raise SettingsInvalid(
            f'{SETTING}: "{function.name}" is the name of two functions, in {other.source} and in {function.source}. '
            "Give one of them another: @mcp_workflows.function(name=…)"
        )


def _registered(target: Any, source: str) -> Registered:
    name = cast("str", getattr(target, MARK))
    try:
        bind = _binder(target)
    except (NameError, TypeError, ValueError, PydanticUserError) as error:
        raise SettingsInvalid(
            f'{SETTING}: the signature of "{name}" in {source} cannot be used: {error}. '
            "Annotate its parameters with types that Pydantic knows, none of them positional only"
        ) from error
    is_async = inspect.iscoroutinefunction(inspect.unwrap(target)) or inspect.iscoroutinefunction(target)
    return Registered(name, target, is_async, bind, source)


def _binder(target: Any) -> Callable[[Mapping[str, Json]], tuple[tuple[Any, ...], dict[str, Any]]]:
    """Checks arguments apart from the call, so that what the function raises is never taken for a wrong argument."""
    signature = inspect.signature(target)
    hints = typing.get_type_hints(inspect.unwrap(target), include_extras=True)
    hints.pop("return", None)
    parameters = [
        parameter.replace(annotation=hints.get(parameter.name, _EMPTY)) for parameter in signature.parameters.values()
    ]
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise TypeError(f'"{parameter.name}" is positional only')

    def arguments(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs

    arguments.__signature__ = signature.replace(parameters=parameters, return_annotation=_EMPTY)  # pyright: ignore[reportFunctionMemberAccess]
    arguments.__annotations__ = hints
    arguments.__module__ = target.__module__
    arguments.__qualname__ = arguments.__name__ = cast("str", getattr(target, MARK))
    checked = validate_call(arguments)

    def bind(given: Mapping[str, Json]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            return checked(**given)
        except ValidationError as error:
            raise ArgumentsInvalid("; ".join(map(_complaint, error.errors(include_url=False)))) from None

    return bind


def _complaint(error: Any) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return f"args{place}: {error['msg'][:1].lower()}{error['msg'][1:]}"
