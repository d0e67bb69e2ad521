"""Functions that tests call as a deployment's own. ``gate`` lets the blocking ones go on."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import threading
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

import mcp_workflows

gate = threading.Event()
begun = threading.Semaphore(0)
calls: list[Any] = []
on_behalf_of: contextvars.ContextVar[str] = contextvars.ContextVar("on_behalf_of", default="nobody")


class Address(BaseModel):
    street: str
    zip: Annotated[str, Field(min_length=4)]


@dataclasses.dataclass
class Label:
    text: str
    printed: date
    price: Decimal


@mcp_workflows.function
def print_label(address: Address, copies: int = 1, *, printed: date) -> Label:
    assert isinstance(address, Address)
    return Label(f"{copies} x {address.street}", printed, Decimal("1.50"))


@mcp_workflows.function(name="greet")
async def _greet(name: str) -> str:
    await asyncio.sleep(0)
    return f"Hello {name}"


@mcp_workflows.function
async def whose_async() -> str:
    await asyncio.sleep(0)
    return on_behalf_of.get()


@mcp_workflows.function
def who_calls() -> dict[str, Any]:
    step = mcp_workflows.step()
    return {"run": step.run_id, "path": step.path, "attempt": step.attempt, "key": step.idempotency_key}


@mcp_workflows.function
async def who_calls_async() -> str:
    return mcp_workflows.step().idempotency_key


@mcp_workflows.function
def thread_name() -> str:
    return threading.current_thread().name


@mcp_workflows.function
def block() -> str:
    begun.release()
    gate.wait(30)
    calls.append("block ended")
    return "late"


@mcp_workflows.function
def block_after_progress() -> None:
    mcp_workflows.progress("half way", 0.5)
    gate.wait(30)


@mcp_workflows.function
async def block_the_loop() -> str:
    begun.release()
    gate.wait(30)
    return "late"


@mcp_workflows.function
async def linger() -> None:
    begun.release()
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        calls.append("cancelled")
        raise


@mcp_workflows.function
def raises(kind: str) -> None:
    match kind:
        case "error":
            raise KeyError("no such file: s3cr3t-value")
        case "exit":
            raise SystemExit(3)
        case "stop":
            raise StopIteration
        case "refused":
            raise mcp_workflows.StepFailed("the card is expired", code="card_expired", details={"card": "4242"})
        case "doubtful":
            raise mcp_workflows.StepFailed("who knows", code="lost", in_doubt=True, retryable=True, details=object())
        case _:
            raise mcp_workflows.StepFailed("bad code", code="Not A Code")


@mcp_workflows.function
async def raises_async(kind: str) -> None:
    if kind == "exit":
        raise SystemExit(3)
    if kind == "cancelled":
        raise asyncio.CancelledError
    raise ValueError("async")


def _selfish() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


def _deep() -> Any:
    value: Any = 1
    for _ in range(70):
        value = [value]
    return value


@mcp_workflows.function
def returns(what: str) -> Any:
    return {
        "object": object,
        "nan": lambda: float("nan"),
        "big": lambda: 2**70,
        "nul": lambda: "a\0b",
        "surrogate": lambda: "\ud800",
        "deep": _deep,
        "self": _selfish,
        "large": lambda: "x" * 3000,
        "coroutine": _greet_nobody,
        "set": lambda: {3},
        "none": lambda: None,
        "bytes": lambda: b"\xff",
    }[what]()


async def _greet_nobody() -> None: ...


@mcp_workflows.function
def takes_its_time(steps: int, pause: float) -> str:
    waiting = threading.Event()
    for number in range(steps):
        waiting.wait(pause)
        mcp_workflows.progress(f"part {number + 1}", (number + 1) / steps)
    return "done"


@mcp_workflows.function
async def takes_its_time_async(steps: int, pause: float) -> str:
    for _ in range(steps):
        await asyncio.sleep(pause)
        mcp_workflows.progress()
    return "done"


def _never(_value: str) -> str:
    raise RuntimeError("broken validator")


@mcp_workflows.function
def validates(value: Annotated[str, AfterValidator(_never)]) -> None:
    calls.append("validates")
