"""One attempt of a ``python`` step: check the arguments, call the function where it can hold up nobody, judge what came.

A function is taken to have an effect from the moment it is called. What it raises is therefore *in doubt*, unless it says
better itself by ``StepFailed``; so is what it returned, if that cannot be recorded: the work was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.program import Json, PythonWork
from mcp_workflows.engine.outcome import Completed, Outcome, StepCall
from mcp_workflows.functions import StepFailed, current
from mcp_workflows.steps.attempt import Attempt
from mcp_workflows.steps.correction import corrected
from mcp_workflows.steps.python.registry import ArgumentsInvalid, Registered, to_json, unknown_function
from mcp_workflows.steps.python.threads import Beginning, Busy, LoopThread, Threads
from mcp_workflows.steps.recordable import NotJson, TooLarge, recordable

_log = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds in which the loop of the async functions must begin one, half of its timeout at most."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a call ended, told from the function's thread. ``kind``: ``returned``, ``raised``, ``refused``, ``unusable``,
    ``given_up``."""

    kind: str
    value: Any = None


class Python:
    """The doer of ``PythonWork``."""

    def __init__(self, functions: Mapping[str, Registered], *, threads: int, max_bytes: int) -> None:
        self._functions = functions
        self._threads = Threads(threads)
        self._loop = LoopThread()
        self._max_bytes = max_bytes

    async def attempt(self, attempt: Attempt) -> Outcome:
        work = attempt.call.work
        assert isinstance(work, PythonWork)
        attempt.in_doubt = False
        attempt.label = f'the function "{work.call}"'
        registered = self._functions.get(work.call)
        if registered is None:
            return attempt.failed("settings", unknown_function(work.call, self._functions))
        try:
            args = corrected(work, attempt.call.correction, work.args.render(attempt.values))
        except ExpressionFailed as failure:
            return attempt.failed("expression", f"{attempt.label} was not called: {failure}")
        attempt.request = {"call": work.call, "args": args}
        if not isinstance(args, dict):
            return attempt.failed("invalid_request", f"{attempt.label} was not called: args: expected a mapping")
        return await self._call(attempt, registered, cast("dict[str, Any]", args))

    async def _call(self, attempt: Attempt, registered: Registered, args: Mapping[str, Json]) -> Outcome:
        beginning = Beginning()
        context = _Context(attempt, asyncio.get_running_loop())
        prepare = partial(_prepared, registered, args, beginning)
        try:
            if registered.is_async:
                timeout = attempt.call.timeout
                patience = PATIENCE if timeout is None else min(PATIENCE, timeout / 2)
                run = partial(_awaited, prepare, context, self._max_bytes)
                ended = await self._loop.run(run, beginning, patience, _awaited.__code__)
            else:
                call = partial(_called, prepare, context, self._max_bytes)
                inside = contextvars.copy_context()
                ended = await self._threads.run(registered.name, partial(inside.run, call), context)
        except Busy as busy:
            return attempt.failed("busy", f"{attempt.label} was not called: {busy}", retryable=True)
        except asyncio.CancelledError:
            attempt.in_doubt = not beginning.give_up()
            raise
        finally:
            context.ended = True
        return self._judged(attempt, ended)

    def _judged(self, attempt: Attempt, ended: _Ended) -> Outcome:
        match ended:
            case _Ended("returned", value):
                return Completed(attempt.redactor.json(value) if attempt.redactor else value)
            case _Ended("refused", message):
                return attempt.failed("invalid_request", f"{attempt.label} was not called: {message}")
            case _Ended("raised", StepFailed() as failed):
                return self._as_it_says(attempt, failed)
            case _Ended("raised", error):
                return _raised(attempt, error)
            case _Ended("unusable", error):
                code = "answer_too_large" if isinstance(error, TooLarge) else "not_json"
                return attempt.failed(code, f"{attempt.label} was called, but what it returned {error}", in_doubt=True)
            case _:
                raise AssertionError(f"a function that was {ended.kind} has an attempt that waits for it")

    def _as_it_says(self, attempt: Attempt, failed: StepFailed) -> Outcome:
        details: Json = None
        if failed.details is not None:
            try:
                details = recordable(to_json(failed.details), self._max_bytes)
            except (NotJson, TooLarge) as unusable:
                _log.warning("%s failed with details that %s", attempt.label, unusable)
        return attempt.failed(
            failed.code,
            str(failed.message),
            in_doubt=bool(failed.in_doubt),
            retryable=bool(failed.retryable),
            details=details,
        )

    async def close(self) -> None:
        self._threads.close()
        await self._loop.close()


def _raised(attempt: Attempt, error: BaseException) -> Outcome:
    call = attempt.call
    _log.error(
        "%s raised in attempt %d of %s in run %s:\n%s",
        attempt.label,
        call.attempt,
        call.path,
        call.run_id,
        attempt.redactor.text("".join(traceback.format_exception(error))),
    )
    name = type(error).__name__
    text = f"{name}: {error}" if str(error) else name
    message = f"{attempt.label} raised {text}"
    return attempt.failed("python_error", message, in_doubt=True, details={"exception": name})


def _prepared(registered: Registered, args: Mapping[str, Json], beginning: Beginning) -> Callable[[], Any] | _Ended:
    """The call, ready to be made; it counts as begun from here on."""
    try:
        positional, named = registered.bind(args)
    except ArgumentsInvalid as invalid:
        return _Ended("refused", str(invalid))
    except BaseException as error:  # noqa: BLE001  # the author's own validators
        return _Ended("refused", f"a validator of its arguments raised {type(error).__name__}: {error}")
    if not beginning.begin():
        return _Ended("given_up")
    return partial(registered.target, *positional, **named)


def _called(prepare: Callable[[], Callable[[], Any] | _Ended], context: _Context, limit: int) -> _Ended:
    """In a thread for functions. Raises nothing, whatever the function does."""
    token = current.set(context)
    try:
        call = prepare()
        return call if isinstance(call, _Ended) else _returned(call(), limit)
    except BaseException as error:  # noqa: BLE001  # SystemExit and the like are the function's failure, not the node's
        return _Ended("raised", error)
    finally:
        current.reset(token)


async def _awaited(prepare: Callable[[], Callable[[], Any] | _Ended], context: _Context, limit: int) -> _Ended:
    """In the event loop for functions. Raises nothing but the cancellation that the attempt's end brings."""
    current.set(context)  # a task has its own copy of the context
    try:
        call = prepare()
        return call if isinstance(call, _Ended) else _returned(await call(), limit)
    except asyncio.CancelledError as error:
        if context.ended:
            raise
        return _Ended("raised", error)
    except BaseException as error:  # noqa: BLE001  # SystemExit would end the loop of all functions
        return _Ended("raised", error)


def _returned(value: Any, limit: int) -> _Ended:
    if inspect.iscoroutine(value):
        value.close()
        return _Ended("unusable", NotJson("is a coroutine, as nothing awaits it: write async def"))
    try:
        return _Ended("returned", recordable(to_json(value), limit))
    except (NotJson, TooLarge) as unusable:
        return _Ended("unusable", unusable)


class _Context:
    """What the function may know and say; ``progress`` is called from its thread."""

    def __init__(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        self._attempt = attempt
        self._call: StepCall = attempt.call
        self._loop = loop
        self._label = attempt.label
        self._told = False
        self.ended = False

    @property
    def run_id(self) -> str:
        return self._call.run_id

    @property
    def path(self) -> str:
        return self._call.path

    @property
    def attempt(self) -> int:
        return self._call.attempt

    @property
    def idempotency_key(self) -> str:
        return self._call.idempotency_key

    def progress(self, message: str | None, fraction: float | None) -> None:
        shown = " ".join(
            part for part in (message and str(message), fraction is not None and f"{float(fraction):.0%}") if part
        )
        if shown:
            self._attempt.label = f"{self._label} (last heard: {shown[:200]})"
            _log.debug("%s in run %s: %s", self.path, self.run_id, shown)
        if self.ended or self._told:
            return
        self._told = True
        with contextlib.suppress(RuntimeError):  # the node is gone, and the function goes on alone
            self._loop.call_soon_threadsafe(self._renew)

    def _renew(self) -> None:
        self._told = False
        if not self.ended and self._attempt.deadline is not None:
            self._attempt.deadline.renew()

    # The attempt's time begins when a thread is free for it: a crowd is nobody's slowness.

    def waits(self) -> None:
        if self._attempt.deadline is not None:
            self._attempt.deadline.suspend()

    def comes(self) -> None:
        self._renew()
