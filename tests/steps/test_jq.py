"""``jq`` steps: filters run in child processes that see nothing, reach nothing and end in time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.definition.program import JqWork
from mcp_workflows.engine.outcome import Completed
from mcp_workflows.steps.jq.children import Child, ChildDied
from tests.steps.calling import calling
from tests.steps.calls import template

pytestmark = pytest.mark.anyio


def jq(program: str, value: Any = None) -> JqWork:
    return JqWork(program, template(value))


SHAPES: list[tuple[str, Any, Any]] = [
    (".a.b", {"a": {"b": 7}}, 7),
    ("group_by(.k) | map(length)", [{"k": "a"}, {"k": "b"}, {"k": "a"}], [2, 1]),
    (".[]", [1, 2], [1, 2]),
    ("empty", 1, []),
    ("null", 1, None),
    (".", 2**62, 2**62),
    (".", "ä\u2028😀", "ä\u2028😀"),
    ("[env, $ENV]", None, [{}, {}]),
    ("halt", 1, []),
    ("input_filename", None, None),
    ("$__loc__.line", None, 1),
]


@pytest.mark.parametrize(("program", "value", "result"), SHAPES)
async def test_one_value_is_the_output_and_several_are_a_list(program: str, value: Any, result: Any) -> None:
    async with calling() as c:
        assert await c.completed(jq(program, value)) == result


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (".[", "syntax error"),
        (".a", "Cannot index number"),
        ('error("no stock")', "no stock"),
        ("input", "break"),
        ('import "a" as a; .', "module not found"),
        ("1000000000000000000001", "beyond 64 bits"),
        ("reduce range(70) as $i (1; [.])", "nested deeper than 64"),
        ("reduce range(100000) as $i (1; [.])", ""),
        ('"\\u0000"', "NUL"),
    ],
)
async def test_a_filter_that_fails_is_a_definite_failure_with_jqs_own_words(program: str, told: str) -> None:
    async with calling() as c:
        error = await c.failed(jq(program, 5))
        assert (error.code, error.in_doubt, error.retryable) == ("jq_error", False, False)
        assert told in error.message
        assert await c.completed(jq(".", 1)) == 1


@pytest.mark.parametrize("program", ["def f: f; f", "[limit(1; repeat(empty))]", "last(range(1e15))"])
async def test_a_filter_that_does_not_end_is_killed_at_the_timeout(program: str) -> None:
    async with calling() as c:
        error = await c.failed(jq(program), timeout=1)
        assert (error.code, error.in_doubt) == ("timeout", False)
        assert await c.completed(jq(".", 1)) == 1


@pytest.mark.parametrize("program", ["range(1e12)", '"x" * 5000'])
async def test_what_is_too_large_to_keep_is_refused(program: str) -> None:
    async with calling(max_answer_bytes=4096) as c:
        error = await c.failed(jq(program))
    assert (error.code, error.in_doubt) == ("answer_too_large", False)


@pytest.mark.parametrize(
    "program",
    ['"x" * 1e9 | length', "[range(1e9)] | length", "def f: 1 + f; f", 'reduce range(60) as $i ("x"; . + .) | length'],
)
async def test_a_filter_that_eats_memory_ends_its_own_child_and_nothing_else(program: str) -> None:
    async with calling() as c:
        error = await c.failed(jq(program))
        assert (error.code, error.in_doubt) == ("jq_error", False)
        assert await c.completed(jq(".", 1)) == 1


async def test_a_child_serves_many_filters_and_two_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Child] = []
    start = Child.start

    async def counted() -> Child:
        child = await start()
        started.append(child)
        return child

    monkeypatch.setattr(Child, "start", counted)
    async with calling() as c:
        outcomes = await asyncio.gather(*(c.attempt(jq(". + 1", n)) for n in range(40)))
        assert [outcome.result for outcome in outcomes if isinstance(outcome, Completed)] == list(range(1, 41))
        assert len(started) == 2


async def test_a_child_that_was_killed_while_idle_is_replaced_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    start = Child.start

    async def noted() -> Child:
        child = await start()
        pids.append(child._process.pid)  # pyright: ignore[reportPrivateUsage]
        return child

    monkeypatch.setattr(Child, "start", noted)
    async with calling() as c:
        assert await c.completed(jq(".", 1)) == 1
        os.kill(pids[0], signal.SIGKILL)
        assert await c.completed(jq(".", 2)) == 2
    assert len(pids) == 2


async def test_a_cancelled_attempt_kills_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[Child] = []
    there = asyncio.Event()
    start = Child.start

    async def noted() -> Child:
        child = await start()
        children.append(child)
        there.set()
        return child

    monkeypatch.setattr(Child, "start", noted)
    async with calling() as c:
        task = asyncio.create_task(c.attempt(jq("def f: f; f")))
        await there.wait()
        task.cancel()
        async with asyncio.timeout(10):
            assert await children[0]._process.wait() == -signal.SIGKILL  # pyright: ignore[reportPrivateUsage]


async def test_time_in_the_crowd_does_not_count_against_the_attempt() -> None:
    async with calling() as c:
        slow = [asyncio.create_task(c.attempt(jq("def f: f; f"), timeout=1.5)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await c.completed(jq(".", 1), timeout=1.2) == 1
        await asyncio.gather(*slow)


async def test_a_failure_shows_the_filter_and_the_input_redacted_and_cut() -> None:
    async with calling(secrets={"TOKEN": "s3cr3t-value"}) as c:
        error = await c.failed(jq(".a", ["s3cr3t-value"]))
        assert error.request == {"filter": ".a", "input": ["[secret TOKEN]"]}
        error = await c.failed(jq(".", ["x" * 1000] * 17_000))
    assert error.code == "invalid_request"
    assert len(str(error.request)) < 5000
    assert "more" in error.request["input"][-1]


async def test_a_correction_is_merged_into_the_input() -> None:
    async with calling() as c:
        assert await c.completed(jq(".", {"a": 1, "b": 2}), correction={"input": {"b": 3}}) == {"a": 1, "b": 3}


async def test_files_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('"s3cr3t-value"')
    (tmp_path / "code.jq").write_text('def key: "s3cr3t-value";')
    async with calling() as c:
        for program in (f'import "{tmp_path}/keys" as $k; $k', f'import "{tmp_path}/code" as c; c::key'):
            assert "s3cr3t" not in str(await c.failed(jq(program)))


async def test_a_child_ends_when_its_server_is_gone() -> None:
    child = await Child.start()
    assert await child.run(".", "1", 1000, 5) == {"values": [1]}
    process = child._process  # pyright: ignore[reportPrivateUsage]
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(10):
        assert await process.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no processor time")
async def test_a_filter_that_nobody_waits_for_any_more_is_ended_by_its_own_limit() -> None:
    child = await Child.start()
    with pytest.raises(ChildDied) as died:
        await child.run("def f: f; f", "1", 1000, 0.1)
    assert died.value.returncode == -signal.SIGXCPU
    await child.end()
