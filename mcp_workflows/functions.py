"""What a module of functions for ``python`` steps uses: ``function``, ``progress``, ``step`` and ``StepFailed``.

This is imported by other people's modules, so it imports nothing of the product and keeps no state: ``function`` only marks
what it decorates, and whoever loads a module looks for the marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, overload

MARK = "__mcp_workflows_function__"
"""The attribute of a decorated function that holds the name by which definitions call it."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CODE = re.compile(r"[a-z][a-z0-9_]*")
_F = TypeVar("_F", bound=Callable[..., Any])


class StepFailed(Exception):
    """Raise it in a function to say yourself how the step failed.

    ``code`` is what ``retry.for`` and ``on_error`` look at (lower case, digits, ``_``). ``in_doubt``: the effect may have
    taken place all the same. ``retryable``: another attempt may help. ``details`` is kept in the error, if it is JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "failed",
        in_doubt: bool = False,
        retryable: bool = False,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        if not _CODE.fullmatch(code):
            raise ValueError(f'code "{code}" must be lower case letters, digits and "_"')
        self.message = message
        self.code = code
        self.in_doubt = in_doubt
        self.retryable = retryable
        self.details = details


class StepContext(Protocol):
    """The attempt that calls the function."""

    @property
    def run_id(self) -> str: ...

    @property
    def path(self) -> str:
        """Where the step stands in the run: ``resize[3].upload``."""
        ...

    @property
    def attempt(self) -> int:
        """From 1."""
        ...

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step: what it does, it should do once per key."""
        ...

    def progress(self, message: str | None, fraction: float | None) -> None:
        """As the function ``progress``."""
        ...


current: ContextVar[StepContext | None] = ContextVar("mcp_workflows_step", default=None)
"""Set around the call of a function."""


@overload
def function(target: _F, /) -> _F: ...
@overload
def function(*, name: str) -> Callable[[_F], _F]: ...
def function(target: Any = None, /, *, name: str | None = None) -> Any:
    """Lets definitions call a function: ``python: {call: NAME, args: {…}}``. NAME is its own, or ``name``.

    It may be sync or async. Its arguments are checked and converted as its annotations say, and what it returns must be
    JSON, a Pydantic model or a dataclass. The function itself stays as it is.
    """

    def mark(decorated: Any) -> Any:
        known_as = name or decorated.__name__
        if not callable(decorated) or isinstance(decorated, type):
            raise TypeError(f"@mcp_workflows.function decorates functions, not {decorated!r}")
        if not _NAME.fullmatch(known_as):
            raise ValueError(f'"{known_as}" is no name of a function: use letters, digits and "_"')
        setattr(decorated, MARK, known_as)
        return decorated

    return mark if target is None else mark(target)


def progress(message: str | None = None, fraction: float | None = None) -> None:
    """Says that the step is getting on: its ``timeout`` begins anew. Outside of a step it does nothing."""
    context = current.get()
    if context is not None:
        context.progress(message, fraction)


def step() -> StepContext:
    """The attempt that called this function: ``run_id``, ``path``, ``attempt``, ``idempotency_key``.

    Raises ``LookupError`` outside of a step. A thread that the function starts is outside, unless it is given a copy of
    the context (``contextvars.copy_context``).
    """
    context = current.get()
    if context is None:
        raise LookupError("mcp_workflows.step() is only known inside of a function that a step calls")
    return context
