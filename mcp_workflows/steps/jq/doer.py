"""One attempt of a ``jq`` step. Filters have no effect, so no failure of one is ever in doubt."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from mcp_workflows.definition.expressions import ExpressionFailed
from mcp_workflows.definition.json_text import to_ascii
from mcp_workflows.definition.program import JqWork, Json
from mcp_workflows.engine.outcome import Completed, Failed, Outcome
from mcp_workflows.steps.attempt import Attempt
from mcp_workflows.steps.correction import corrected
from mcp_workflows.steps.gate import Gate
from mcp_workflows.steps.jq.child import MEMORY
from mcp_workflows.steps.jq.children import ChildDied, Children
from mcp_workflows.steps.recordable import NotJson, TooLarge, recordable
from mcp_workflows.steps.turn import in_turn

PLACES = 2
"""Filters that run at the same time: they compute, and nothing else."""
LONGEST = 60.0
"""Seconds for a step without a timeout."""
_LARGEST_INPUT = 16 << 20


class Jq:
    """The doer of ``JqWork``."""

    def __init__(self, *, max_bytes: int) -> None:
        self._children = Children()
        self._gate = Gate(PLACES)
        self._max_bytes = max_bytes

    async def attempt(self, attempt: Attempt) -> Outcome:
        work = attempt.call.work
        assert isinstance(work, JqWork)
        attempt.in_doubt = False
        attempt.label = "the jq filter"
        try:
            value = corrected(work, attempt.call.correction, work.input.render(attempt.values))
            text = to_ascii(value)
        except ExpressionFailed as failure:
            return attempt.failed("expression", f"{attempt.label} was not run: {failure}")
        except (TypeError, ValueError, RecursionError) as error:
            return attempt.failed("invalid_request", f"{attempt.label} was not run: its input is no JSON ({error})")
        attempt.request = {"filter": work.filter, "input": value}
        if len(text) > _LARGEST_INPUT:
            why = f"its input is larger than {_LARGEST_INPUT >> 20} MiB as JSON"
            return attempt.failed("invalid_request", f"{attempt.label} was not run: {why}")
        async with in_turn(self._gate, None, attempt):
            return await self._run(attempt, work.filter, text)

    async def _run(self, attempt: Attempt, program: str, text: str) -> Outcome:
        seconds = LONGEST if attempt.call.timeout is None else attempt.call.timeout
        try:
            async with asyncio.timeout(None if attempt.call.timeout is not None else LONGEST):
                answer = await self._children.run(program, text, self._max_bytes, seconds)
        except ChildDied as died:
            return _died(attempt, died)
        except TimeoutError:
            return attempt.failed("timeout", f"{attempt.label} took longer than {LONGEST:g} s")
        except OSError as error:
            return attempt.failed("busy", f"no process for {attempt.label}: {error.strerror}", retryable=True)
        return self._judged(attempt, answer)

    def _judged(self, attempt: Attempt, answer: dict[str, Any]) -> Outcome:
        if "error" in answer:
            message = " ".join(str(answer["message"]).split()).removeprefix("jq: error: ")
            return attempt.failed(answer["error"], f"{attempt.label} failed: {message}")
        values: list[Json] = answer["values"]
        try:
            result = recordable(values[0] if len(values) == 1 else values, self._max_bytes)
        except NotJson as unusable:
            return attempt.failed("jq_error", f"{attempt.label} failed: what it gives {unusable}")
        except TooLarge as large:
            return attempt.failed("answer_too_large", f"{attempt.label} failed: what it gives {large}")
        return Completed(attempt.redactor.json(result) if attempt.redactor else result)

    async def close(self) -> None:
        await self._children.close()


def _died(attempt: Attempt, died: ChildDied) -> Failed:
    if died.returncode is not None and -died.returncode == getattr(signal, "SIGXCPU", 0):
        return attempt.failed("timeout", f"{attempt.label} took too much of the processor's time")
    why = f"it needs more than {MEMORY >> 20} MiB of memory, or crashed"
    return attempt.failed("jq_error", f"{attempt.label} failed: {why} (exit {died.returncode})")
