"""The program of a child process: runs jq filters, one at a time, and can do nothing else.

It is started by its path with ``python -I`` and an empty environment, so it imports nothing of the product. A frame is four
bytes of length, the highest first, and that much JSON. A request is ``{filter, input, limit, seconds}``; the answer is
``{values}`` or ``{error, message}``.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, BinaryIO

import jq  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

MEMORY = 512 << 20
_KEPT = 64
"""Compiled filters that are kept: a loop asks for the same one again and again."""


def main() -> None:
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    os.environ.clear()
    _confine()
    compiled: dict[str, Any] = {}
    while (request := _read(requests)) is not None:
        _limit_time(request["seconds"])
        try:
            answer = _run(compiled, request["filter"], request["input"], request["limit"])
        except MemoryError:
            answer = {"error": "jq_error", "message": f"it needs more than {MEMORY >> 20} MiB of memory"}
        _write(answers, answer)


def _run(compiled: dict[str, Any], program: str, value: Any, limit: int) -> dict[str, Any]:
    values: list[Any] = []
    size = 0
    try:
        if program not in compiled:
            if len(compiled) >= _KEPT:
                compiled.clear()
            compiled[program] = jq.compile(program)  # pyright: ignore[reportUnknownMemberType]
        for one in compiled[program].input_value(value):
            values.append(one)
            size += len(json.dumps(one, separators=(",", ":"))) + 1
            if size > limit:
                return {"error": "answer_too_large", "message": f"what it gives is larger than {limit} bytes"}
    except (ValueError, RecursionError) as error:
        return {"error": "jq_error", "message": str(error)}
    return {"values": values}


def _confine() -> None:
    """No files, no processes, no more than so much memory. Windows knows no such limits; there only the time is limited."""
    try:
        import resource  # noqa: PLC0415  # not there on Windows
    except ImportError:
        return
    limits = {"RLIMIT_AS": MEMORY, "RLIMIT_NOFILE": 3, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NPROC": 0}
    for name, limit in limits.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            try:
                resource.setrlimit(kind, (limit, limit))
            except (ValueError, OSError):  # macOS refuses some of them
                continue


def _limit_time(seconds: float) -> None:
    """Should whoever asked be gone, a filter that never ends must not run for ever."""
    try:
        import resource  # noqa: PLC0415  # not there on Windows
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _read(stream: BinaryIO) -> Any:
    head = stream.read(4)
    if len(head) < 4:
        return None
    return json.loads(stream.read(int.from_bytes(head, "big")))


def _write(stream: BinaryIO, answer: dict[str, Any]) -> None:
    body = json.dumps(answer, separators=(",", ":")).encode()
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()


if __name__ == "__main__":
    main()
