"""``python`` steps: functions of the deployment's own modules, with typed arguments, in threads or in their own loop."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import mcp_workflows
from mcp_workflows.definition.program import PythonWork
from mcp_workflows.engine.outcome import Completed, Failed
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.steps import find_functions
from tests.steps import functions_module as module
from tests.steps.calling import calling
from tests.steps.calls import template

pytestmark = pytest.mark.anyio
FUNCTIONS = find_functions(["tests.steps.functions_module"])


@pytest.fixture(autouse=True)
def let_go() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    """No test leaves a thread that is held."""
    module.gate.clear()
    module.calls.clear()
    module.begun = threading.Semaphore(0)
    yield
    module.gate.set()


def call(name: str, /, **args: Any) -> PythonWork:
    return PythonWork(name, template(args))


async def _begun() -> None:
    assert await asyncio.to_thread(module.begun.acquire, timeout=10)


async def test_arguments_become_what_the_annotations_say_and_the_answer_becomes_json() -> None:
    work = call("print_label", address={"street": "${input.street}", "zip": "10115"}, printed="2026-11-22")
    async with calling(functions=FUNCTIONS) as c:
        result = await c.completed(work, values={"input": {"street": "Main St"}})
    assert result == {"text": "1 x Main St", "printed": "2026-11-22", "price": "1.50"}


async def test_an_async_function_is_called_by_the_name_it_was_given() -> None:
    async with calling(functions=FUNCTIONS) as c:
        assert await c.completed(call("greet", name="Ada")) == "Hello Ada"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"address": {"street": "A", "zip": "1"}, "printed": "2026-11-22"}, "args.address.zip: string should have"),
        ({"address": {"street": "A", "zip": "10115"}, "printed": "soon"}, "args.printed: input should be a valid date"),
        ({"address": {"street": "A", "zip": "10115"}}, "args.printed: missing required keyword only argument"),
        ({"adress": 1}, "args.adress: unexpected keyword argument"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_before_the_call(args: Any, told: str) -> None:
    async with calling(functions=FUNCTIONS) as c:
        error = await c.failed(call("print_label", **args))
    assert (error.code, error.in_doubt, error.retryable) == ("invalid_request", False, False)
    assert told in error.message
    assert error.request == {"call": "print_label", "args": args}


async def test_a_validator_that_breaks_refuses_the_arguments_and_the_function_is_not_called() -> None:
    async with calling(functions=FUNCTIONS) as c:
        error = await c.failed(call("validates", value="x"))
    assert (error.code, error.in_doubt) == ("invalid_request", False)
    assert "validates" not in module.calls


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("object", "is no JSON"),
        ("nan", "is no JSON"),
        ("big", "an integer beyond 64 bits"),
        ("nul", "a NUL character"),
        ("surrogate", "half of a surrogate pair"),
        ("deep", "nested deeper than 64"),
        ("self", "is no JSON"),
        ("coroutine", "a coroutine"),
        ("bytes", "is no JSON"),
    ],
)
async def test_what_cannot_be_recorded_leaves_the_step_in_doubt_as_the_work_was_done(what: str, told: str) -> None:
    async with calling(functions=FUNCTIONS) as c:
        error = await c.failed(call("returns", what=what))
    assert (error.code, error.in_doubt, error.retryable) == ("not_json", True, False)
    assert told in error.message


async def test_what_is_too_large_to_keep_leaves_the_step_in_doubt() -> None:
    async with calling(functions=FUNCTIONS, max_answer_bytes=2048) as c:
        error = await c.failed(call("returns", what="large"))
    assert (error.code, error.in_doubt) == ("answer_too_large", True)


@pytest.mark.parametrize(("what", "result"), [("set", [3]), ("none", None)])
async def test_sets_and_nothing_are_json_enough(what: str, result: Any) -> None:
    async with calling(functions=FUNCTIONS) as c:
        assert await c.completed(call("returns", what=what)) == result


@pytest.mark.parametrize(
    ("name", "kind", "exception"),
    [
        ("raises", "error", "KeyError"),
        ("raises", "exit", "SystemExit"),
        ("raises", "stop", "StopIteration"),
        ("raises", "code", "ValueError"),
        ("raises_async", "exit", "SystemExit"),
        ("raises_async", "cancelled", "CancelledError"),
        ("raises_async", "error", "ValueError"),
    ],
)
async def test_whatever_a_function_raises_is_its_own_failure_and_in_doubt(name: str, kind: str, exception: str) -> None:
    async with calling(functions=FUNCTIONS) as c:
        error = await c.failed(call(name, kind=kind))
        assert await c.completed(call("greet", name="still here")) == "Hello still here"
    assert (error.code, error.in_doubt, error.retryable) == ("python_error", True, False)
    assert error.details == {"exception": exception}


async def test_a_secret_in_an_exception_is_neither_recorded_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with calling(functions=FUNCTIONS, secrets={"TOKEN": "s3cr3t-value"}) as c:
        error = await c.failed(call("raises", kind="error"))
    assert "[secret TOKEN]" in error.message
    assert "s3cr3t" not in error.message + caplog.text


async def test_a_function_says_itself_how_it_failed() -> None:
    async with calling(functions=FUNCTIONS) as c:
        refused = await c.failed(call("raises", kind="refused"))
        doubtful = await c.failed(call("raises", kind="doubtful"))
    assert (refused.code, refused.message, refused.in_doubt) == ("card_expired", "the card is expired", False)
    assert (refused.retryable, refused.details) == (False, {"card": "4242"})
    assert (doubtful.code, doubtful.in_doubt, doubtful.retryable, doubtful.details) == ("lost", True, True, None)


async def test_a_function_knows_who_calls_it() -> None:
    async with calling(functions=FUNCTIONS) as c:
        told = await c.completed(call("who_calls"), key="key-9", number=2)
        assert told == {"run": "r_1", "path": "resize[3].upload", "attempt": 2, "key": "key-9"}
        assert await c.completed(call("who_calls_async"), key="key-9") == "key-9"


def test_outside_of_a_step_functions_are_plain_functions() -> None:
    mcp_workflows.progress("nobody listens")
    with pytest.raises(LookupError, match="inside of a function that a step calls"):
        mcp_workflows.step()
    assert module.takes_its_time(1, 0.0) == "done"


@pytest.mark.parametrize("name", ["takes_its_time", "takes_its_time_async"])
async def test_progress_begins_the_timeout_anew(name: str) -> None:
    async with calling(functions=FUNCTIONS) as c:
        assert await c.completed(call(name, steps=4, pause=0.2), timeout=0.5) == "done"


async def test_without_progress_the_time_is_up_and_the_last_word_is_told() -> None:
    async with calling(functions=FUNCTIONS) as c:
        error = await c.failed(call("block_after_progress"), timeout=0.3)
    assert (error.code, error.in_doubt) == ("timeout", True)
    assert "(last heard: half way 50%)" in error.message


async def test_an_attempt_ends_at_its_timeout_though_its_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with calling(functions=FUNCTIONS, max_function_threads=2) as c:
        error = await c.failed(call("block"), timeout=0.1)
        assert (error.code, error.in_doubt) == ("timeout", True)
        assert 'the function "block" still runs though its time is up' in caplog.text
        assert await c.completed(call("thread_name"), timeout=5) != ""


async def test_when_every_thread_is_stuck_new_attempts_fail_as_busy_and_nothing_was_called() -> None:
    async with calling(functions=FUNCTIONS, max_function_threads=2) as c:
        await asyncio.gather(*(c.failed(call("block"), timeout=0.1) for _ in range(2)))
        error = await c.failed(call("thread_name"))
        assert (error.code, error.in_doubt, error.retryable) == ("busy", False, True)
        assert "block" in error.message
        assert await c.completed(call("greet", name="async goes on")) == "Hello async goes on"
        module.gate.set()
        for _ in range(500):  # the threads come back one by one
            if isinstance(await c.attempt(call("thread_name")), Completed):
                break
            await asyncio.sleep(0.01)
        assert await c.completed(call("thread_name"))


async def test_who_waits_for_a_thread_fails_as_busy_once_all_of_them_are_stuck() -> None:
    async with calling(functions=FUNCTIONS, max_function_threads=1) as c:
        stuck = asyncio.create_task(c.failed(call("block"), timeout=0.3))
        await _begun()
        error = await c.failed(call("thread_name"), timeout=0.1)
        assert (error.code, error.in_doubt) == ("busy", False)
        assert (await stuck).code == "timeout"


async def test_time_in_the_crowd_does_not_count_against_the_attempt() -> None:
    async with calling(functions=FUNCTIONS, max_function_threads=1) as c:
        first = asyncio.create_task(c.completed(call("block"), timeout=20))
        await _begun()
        second = asyncio.create_task(c.completed(call("thread_name"), timeout=0.2))
        await asyncio.sleep(0.4)
        module.gate.set()
        assert await first == "late"
        assert "function-1" in await second


async def test_a_cancelled_attempt_gives_its_place_to_the_next_once_its_function_ends() -> None:
    async with calling(functions=FUNCTIONS, max_function_threads=1) as c:
        first = asyncio.create_task(c.attempt(call("block")))
        await _begun()
        waiting = [asyncio.create_task(c.attempt(call("thread_name"))) for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        module.gate.set()
        assert isinstance(await first, Completed)
        assert all(isinstance(outcome, Completed) for outcome in await asyncio.gather(*waiting[1:]))


async def test_an_async_function_is_cancelled_when_its_time_is_up() -> None:
    async with calling(functions=FUNCTIONS) as c:
        error = await c.failed(call("linger"), timeout=0.2)
        assert (error.code, error.in_doubt) == ("timeout", True)
        assert await c.completed(call("greet", name="next")) == "Hello next"
    assert "cancelled" in module.calls


async def test_each_of_many_async_functions_at_once_is_called_in_the_context_of_its_own_attempt() -> None:
    async def attempt(whose: str) -> Any:
        module.on_behalf_of.set(whose)  # of this task alone
        return await c.completed(call("whose_async"))

    names = [f"caller {number}" for number in range(50)]
    async with calling(functions=FUNCTIONS) as c:
        assert await asyncio.gather(*(attempt(name) for name in names)) == names


async def test_a_cancelled_attempt_in_a_crowd_cancels_its_own_async_function_alone() -> None:
    async with calling(functions=FUNCTIONS) as c:
        lingering = asyncio.create_task(c.attempt(call("linger")))
        await _begun()
        crowd = [asyncio.create_task(c.completed(call("greet", name=str(number)))) for number in range(50)]
        unbegun = asyncio.create_task(c.attempt(call("linger")))
        await asyncio.sleep(0)
        unbegun.cancel()
        lingering.cancel()
        assert await asyncio.gather(*crowd) == [f"Hello {number}" for number in range(50)]
        ended = await asyncio.gather(lingering, unbegun, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        assert await c.completed(call("greet", name="next")) == "Hello next"  # after whatever was handed over before
    assert module.calls.count("cancelled") >= 1


async def test_an_async_function_that_blocks_holds_up_only_its_own_kind(caplog: pytest.LogCaptureFixture) -> None:
    async with calling(functions=FUNCTIONS) as c:
        blocker = asyncio.create_task(c.completed(call("block_the_loop")))
        await _begun()
        error = await c.failed(call("greet", name="waits"), timeout=1)
        assert (error.code, error.in_doubt, error.retryable) == ("busy", False, True)
        assert "(in block_the_loop, line " in error.message
        assert "gate.wait(30)" in caplog.text
        assert await c.completed(call("thread_name"))
        module.gate.set()
        assert await blocker == "late"
        assert await c.completed(call("greet", name="again")) == "Hello again"


async def test_closing_cancels_what_runs_and_waits_for_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    async with calling(functions=FUNCTIONS) as c:
        lingering = asyncio.create_task(c.attempt(call("linger")))
        blocked = asyncio.create_task(c.attempt(call("block")))
        await _begun()
        await _begun()
        blocked.cancel()
    assert isinstance(await lingering, Failed)
    assert "cancelled" in module.calls


async def test_a_function_that_is_not_here_is_told_with_a_remedy() -> None:
    async with calling(functions=FUNCTIONS) as c:
        error = await c.failed(call("resize"))
        assert (error.code, error.in_doubt) == ("settings", False)
        assert "tests.steps.functions_module" in error.message
    async with calling() as c:
        assert "MCP_WORKFLOWS_FUNCTIONS names no module" in (await c.failed(call("resize"))).message


async def test_a_failure_shows_the_arguments_redacted_and_cut() -> None:
    long = ["x" * 2000] * 500
    async with calling(functions=FUNCTIONS, secrets={"TOKEN": "s3cr3t-value"}) as c:
        error = await c.failed(call("raises", kind="error"), correction={"args": {"kind": "is s3cr3t-value"}})
        assert error.request == {"call": "raises", "args": {"kind": "is [secret TOKEN]"}}
        error = await c.failed(call("raises", long=long))
    assert error.request["call"] == "raises"
    assert len(str(error.request)) < 5000


async def test_a_correction_is_merged_into_the_arguments() -> None:
    async with calling(functions=FUNCTIONS) as c:
        assert await c.completed(call("greet", name="Ada"), correction={"args": {"name": "Bob"}}) == "Hello Bob"


# Finding functions


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, 'there is no module "own_steps"'),
        ("import nowhere_to_be_found", 'needs "nowhere_to_be_found", which is not installed'),
        ("x = 1 / 0", "cannot be imported: ZeroDivisionError"),
        ("def f(:", "cannot be imported: SyntaxError"),
        ("raise SystemExit(0)", "ends the process when it is imported"),
        ("def f(): ...", "has no function for steps"),
        (
            "import mcp_workflows as m\n@m.function\ndef f(x, /): ...",
            'the signature of "f" in own_steps cannot be used: "x" is positional only',
        ),
        ("import mcp_workflows as m\n@m.function\ndef f(x: 'Nowhere'): ...", "name 'Nowhere' is not defined"),
        (
            "import mcp_workflows as m\n@m.function\ndef f(): ...\n@m.function(name='f')\ndef g(): ...",
            '"f" is the name of two functions',
        ),
        ("import mcp_workflows as m\n@m.function\nclass F: ...", "decorates functions"),
        ("import mcp_workflows as m\n@m.function(name='not a name')\ndef g(): ...", "is no name of a function"),
    ],
)
def test_a_module_that_cannot_be_used_is_refused_by_name(
    source: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source is not None:
        (tmp_path / "own_steps.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_steps", raising=False)
    with pytest.raises(SettingsInvalid) as refused:
        find_functions(["own_steps"])
    assert "MCP_WORKFLOWS_FUNCTIONS" in str(refused.value)
    assert told in str(refused.value)
    sys.modules.pop("own_steps", None)


def test_a_function_that_is_imported_into_a_second_module_is_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more_steps.py").write_text("from tests.steps.functions_module import who_calls")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert "who_calls" in find_functions(["tests.steps.functions_module", "more_steps"])
    sys.modules.pop("more_steps", None)


def test_to_import_the_package_is_cheap() -> None:
    heavy = "import mcp_workflows, sys; print(sorted({'pydantic', 'aiohttp', 'mcp', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stuck_thread_does_not_keep_the_process_from_ending() -> None:
    program = (
        "import asyncio\n"
        "from tests.steps.test_python import *\n"
        "async def main():\n"
        "    async with calling(functions=FUNCTIONS) as c:\n"
        "        print((await c.failed(call('block'), timeout=0.1)).code)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "timeout", done.stderr
