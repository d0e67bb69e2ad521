"""What all commands have in common: an event loop where they need one; errors put into words and exit codes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer

from mcp_workflows.cli.exits import Exit
from mcp_workflows.cli.terminal import complain, remark
from mcp_workflows.errors import CallerError, SystemUnwell

try:
    from uvloop import new_event_loop
except ImportError:  # Windows has none
    from asyncio import new_event_loop

P = ParamSpec("P")
T = TypeVar("T")


def command(function: Callable[P, Exit | Coroutine[Any, Any, Exit]]) -> Callable[P, None]:
    """Makes a function, coroutine or not, a command: what it answers is the exit code, its errors are told in words."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(_exit_code(lambda: function(*args, **kwargs)))

    return run


def finished(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine gives, on an event loop of its own. SIGTERM ends it as Ctrl-C does: in good order."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_ended_by_a_signal(work))


async def _ended_by_a_signal(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows has none, and other threads than the first
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work


def _exit_code(call: Callable[[], Exit | Coroutine[Any, Any, Exit]]) -> Exit:
    try:
        answer = call()
        if isinstance(answer, Exit):
            return answer
        return finished(answer)
    except CallerError as error:
        complain(str(error))
        return Exit.REFUSED
    except SystemUnwell as error:
        complain(str(error))
        return Exit.UNWELL
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        remark("")
        return Exit.INTERRUPTED
