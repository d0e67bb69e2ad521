"""Keeping a number of things going at the same time, and what came of it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

CONCURRENCIES = (1, 32, 256)
"""What every table of rates has columns for."""
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """Of all that was begun within the time, until it was done. Times in milliseconds; ``cpu`` in µs of this process each."""

    per_second: float
    p50: float
    p99: float
    cpu: float


async def pace(one: Callable[[], Awaitable[object]], concurrency: int, seconds: float) -> Pace:
    """``one`` after the other, ``concurrency`` at a time, begun within ``seconds``."""
    latencies: list[float] = []
    began, used = time.perf_counter(), time.process_time()
    end = began + seconds

    async def one_after_the_other() -> None:
        at = time.perf_counter()
        going = True  # once at least, however late a busy machine lets it begin
        while going:
            await one()
            now = time.perf_counter()
            latencies.append(now - at)
            at, going = now, now < end

    await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))
    took, used = time.perf_counter() - began, time.process_time() - used
    return Pace(len(latencies) / took, *percentiles(latencies), used / len(latencies) * 1e6)


async def warm_up(one: Callable[[], Awaitable[object]], concurrency: int, seconds: float) -> None:
    """A while that does not count, with as many at a time: their connections are open then."""
    await pace(one, concurrency, min(seconds, WARM_UP_SECONDS))


async def warmed_pace(one: Callable[[], Awaitable[object]], concurrency: int, seconds: float) -> Pace:
    await warm_up(one, concurrency, seconds)
    return await pace(one, concurrency, seconds)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    if len(seconds) < 2:
        return seconds[0] * 1000, seconds[0] * 1000
    hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
    return hundredths[49] * 1000, hundredths[98] * 1000
