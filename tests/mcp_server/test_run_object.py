"""A run as a model gets it: compared with the conversations that the surface was designed with, field by field."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta
from typing import Any

import pytest

from mcp_workflows.asking.waiting import Waiting
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.records import NotUndone
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.mcp_server.views.next_step import nothing_to_cancel
from mcp_workflows.mcp_server.views.run_object import LARGEST_RESULT, Telling, run_line, run_object
from mcp_workflows.mcp_server.views.shape import size_of
from mcp_workflows.mcp_server.views.waits import Ways
from mcp_workflows.runtime.views import Progress
from tests.mcp_server.views import NOW, RUN_ID, refused_booking, view

TOLD_AT_ONCE = Telling(NOW)
NAMED = Telling(NOW, named=True)


def tokens(told: Any) -> int:
    """The usual estimate: four characters a token."""
    return len(json.dumps(told, separators=(",", ":"), ensure_ascii=False)) // 4


def test_a_running_run_says_how_far_it_is_and_how_to_follow_it() -> None:
    told = run_object(view(RunStatus.RUNNING, progress=Progress(14, ("pages[1].install",))), TOLD_AT_ONCE)
    assert told == {
        "run_id": RUN_ID,
        "status": "running",
        "progress": {"completed": 14, "running": ["pages[1].install"]},
        "next": "Call get_run with wait_seconds 50. You may do other things meanwhile.",
    }


def test_a_joined_run_says_that_it_is_the_one_started_earlier() -> None:
    running = view(RunStatus.RUNNING, joined=True, progress=Progress(2, ("ship",)))
    told = run_object(running, TOLD_AT_ONCE)
    assert told["joined"] is True
    assert told["next"] == (
        "This is the run started 41 s ago with the same input (for a second one set _idempotency_key). "
        "Call get_run with wait_seconds 50."
    )
    by_key = run_object(running, Telling(NOW, by_key=True))
    assert by_key["next"] == (
        "This is the run started 41 s ago with the same _idempotency_key. Call get_run with wait_seconds 50."
    )


def test_a_paused_run_shows_the_request_that_can_be_corrected_and_what_cancel_would_undo() -> None:
    paused = view(RunStatus.PAUSED, error=refused_booking(), would_undo=("charge", "reserve"))
    assert run_object(paused, NAMED) == {
        "run_id": RUN_ID,
        "workflow": "saga_order_fulfillment",
        "version": 1,
        "status": "paused",
        "error": {
            "step": "ship",
            "code": "http_422",
            "in_doubt": False,
            "message": 'POST /shipping/book answered 422: {"error":"status must be 200 or 201"}',
            "attempts": 1,
            "retry_helps": False,
            "request": {"query": {"status": "2OO"}, "json": {"orderId": "o1"}},
        },
        "next": 'resume_run with request {"query":{…},"json":{…}} or input {…} corrected; '
        "or cancel_run, which undoes charge and reserve.",
    }


def test_a_run_that_was_undone_says_what_was_and_sends_the_caller_back_to_the_start() -> None:
    failed = view(RunStatus.FAILED, error=refused_booking(), compensation="done", undone=("charge", "reserve"))
    told = run_object(failed, TOLD_AT_ONCE)
    assert (told["compensation"], told["undone"]) == ("done", ["charge", "reserve"])
    assert told["next"] == "Everything was undone. Start again with other input."


CORRECTED = 'resume_run with request {"query":{…},"json":{…}} or input {…} corrected'
STILL = "still in effect: tell the user."


@pytest.mark.parametrize(
    ("ended", "following"),
    [
        (
            {"status": RunStatus.FAILED, "compensation": "done", "undone": ("charge",), "stays": ("mail",)},
            "All that has a compensation was undone. What mail did stays: tell the user. Start again with other input.",
        ),
        (
            {"status": RunStatus.FAILED, "compensation": "done", "undone": ("charge",), "stays": None},
            "All that has a compensation was undone. Start again with other input.",
        ),
        (
            {"status": RunStatus.FAILED, "compensation": "none", "stays": ("mail", "charge")},
            f"Nothing was undone. What mail and charge did stays: tell the user. {CORRECTED}; or start again with other input.",
        ),
        (
            {
                "status": RunStatus.FAILED,
                "compensation": "incomplete",
                "not_undone": (NotUndone("charge", "503"),),
                "stays": ("mail",),
            },
            f"resume_run tries the undoing again. Until then charge is {STILL} What mail did stays: tell the user.",
        ),
        (
            {
                "status": RunStatus.FAILED,
                "compensation": "incomplete",
                "not_undone": (NotUndone("book", "500", in_doubt=True),),
                "stays": (),
            },
            "It is unknown whether book took place, and nothing undoes that: tell the user.",
        ),
        (
            {
                "status": RunStatus.FAILED,
                "compensation": "incomplete",
                "not_undone": (NotUndone("charge", "503"), NotUndone("book", "500", in_doubt=True)),
                "stays": ("mail",),
            },
            (
                f"resume_run tries the undoing again. Until then charge is {STILL} It is unknown whether book took place, "
                "and nothing undoes that: tell the user. What mail did stays: tell the user."
            ),
        ),
        ({"status": RunStatus.CANCELLED, "compensation": "none", "stays": ("a",)}, "What a did stays: tell the user."),
        (
            {"status": RunStatus.COMPENSATED, "stays": ("mail",)},
            "It had completed, and was undone with the run that had started it. What mail did stays: tell the user.",
        ),
        (
            {"status": RunStatus.PAUSED, "would_undo": ("charge",), "stays": ("mail", "note")},
            f"{CORRECTED}; or cancel_run, which undoes charge (what mail and note did stays).",
        ),
        (
            {"status": RunStatus.PAUSED, "stays": ("mail",)},
            f"{CORRECTED}; or cancel_run (what mail did stays).",
        ),
    ],
    ids=[
        "undone",
        "children",
        "failed",
        "incomplete",
        "in doubt",
        "incomplete and in doubt",
        "cancelled",
        "with its parent",
        "paused",
        "paused for good",
    ],
)
def test_what_nothing_undoes_is_named_to_be_told_to_the_user(ended: dict[str, Any], following: str) -> None:
    told = run_object(view(error=refused_booking(), **ended), TOLD_AT_ONCE)
    assert told["next"] == following
    assert told.get("stays", []) == list(ended["stays"] or ())


def test_a_run_whose_undoing_failed_names_what_is_still_in_effect() -> None:
    failed = view(
        RunStatus.FAILED,
        error=refused_booking(),
        compensation="incomplete",
        undone=("reserve",),
        not_undone=(NotUndone("charge", "POST /payments/refund answered 503 (6 attempts)"),),
    )
    told = run_object(failed, TOLD_AT_ONCE)
    assert told["not_undone"] == [{"step": "charge", "error": "POST /payments/refund answered 503 (6 attempts)"}]
    assert told["next"] == "resume_run tries the undoing again. Until then charge is still in effect: tell the user."


def test_of_very_many_steps_that_stay_some_are_named_and_the_others_counted() -> None:
    many = tuple(f"mails[{number}].mail" for number in range(70, 0, -1))
    told = run_object(view(RunStatus.CANCELLED, stays=many), TOLD_AT_ONCE)
    assert (told["stays"], told["stays_omitted"]) == (list(many[:20]), 50)
    assert told["next"].endswith("mails[67].mail, mails[66].mail and 65 more did stays: tell the user.")


def test_what_is_absent_is_left_out() -> None:
    assert run_object(view(RunStatus.COMPLETED), TOLD_AT_ONCE) == {"run_id": RUN_ID, "status": "completed"}
    cancelled = view(RunStatus.CANCELLED, compensation="none", finished_at=NOW)
    assert run_object(cancelled, TOLD_AT_ONCE) == {"run_id": RUN_ID, "status": "cancelled"}


def test_a_large_result_is_left_out_whole_and_its_shape_is_told() -> None:
    result = {"installed": [{"device": f"d{number}", "run": "r_" + "x" * 30} for number in range(412)], "skipped": []}
    told = run_object(view(RunStatus.COMPLETED, result=result), NAMED)
    assert "result" not in told
    assert told["result_omitted"] == {
        "bytes": size_of(result),
        "shape": "{installed: [412 \N{MULTIPLICATION SIGN} {device, run}], skipped: []}",
        "resource": f"run://{RUN_ID}/result",
    }
    assert told["next"] == "Read a part: get_run with select result.installed[0:20]."


@pytest.mark.parametrize(
    ("result", "part"),
    [
        ([{"a": "x" * 100}] * 500, "result[0:20]"),
        ("x" * 20000, "result[0:8000]"),
        ({"my list": ["x" * 100] * 500}, 'result["my list"][0:20]'),
        ({"page": {"items": ["x" * 100] * 500}}, "result.page"),
    ],
)
def test_the_part_to_begin_with_can_be_selected_as_written(result: Any, part: str) -> None:
    told = run_object(view(RunStatus.COMPLETED, result=result), TOLD_AT_ONCE)
    assert told["next"] == f"Read a part: get_run with select {part}."


def test_a_result_at_the_limit_is_given_whole() -> None:
    at_limit = "x" * (LARGEST_RESULT - 2)
    assert run_object(view(RunStatus.COMPLETED, result=at_limit), TOLD_AT_ONCE)["result"] == at_limit
    assert "result" not in run_object(view(RunStatus.COMPLETED, result=at_limit + "x"), TOLD_AT_ONCE)


def test_a_run_that_waits_for_long_says_until_when_and_that_nobody_has_to_answer() -> None:
    told = run_object(view(RunStatus.WAITING, wake_at=NOW + timedelta(hours=3)), TOLD_AT_ONCE)
    assert told["next"] == (
        "It goes on by itself at 2026-11-25T16:00:00Z (in 3 h). Call get_run then; nobody has to answer."
    )
    soon = run_object(view(RunStatus.WAITING, wake_at=NOW + timedelta(seconds=20)), TOLD_AT_ONCE)
    assert soon["next"] == "Call get_run with wait_seconds 50. You may do other things meanwhile."


def test_a_step_that_must_run_once_and_was_cut_off_is_never_offered_again_without_a_look() -> None:
    error = StepError("interrupted", "the server died while this step was in flight", in_doubt=True, step="payout")
    told = run_object(view(RunStatus.PAUSED, error=error, once_in_doubt=True), TOLD_AT_ONCE)
    assert told["next"] == (
        "It is unknown whether payout took place: find out, then resume_run with output {…} if it did or with again "
        "true to make it again; or cancel_run (there is nothing to undo)."
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"error": StepError("http_503", "POST /x answered 503", step="ship", attempts=5), "retry_helps": True},
            "resume_run tries ship again, also with input {…} corrected; or cancel_run (there is nothing to undo).",
        ),
        (
            {"error": StepError("expression", "no such key", step="sum")},
            (
                "resume_run with input {…} corrected tries sum again, with output {…} takes that for sum; "
                "or cancel_run (there is nothing to undo)."
            ),
        ),
        (
            {"error": StepError("run_timeout", "the run did not end within its timeout of 60 s")},
            "resume_run goes on, also with input {…} corrected; or cancel_run (there is nothing to undo).",
        ),
    ],
)
def test_a_paused_run_offers_what_its_failure_allows(fields: dict[str, Any], sentence: str) -> None:
    assert run_object(view(RunStatus.PAUSED, **fields), TOLD_AT_ONCE)["next"] == sentence


def test_a_failed_run_of_which_nothing_was_undone_can_be_resumed() -> None:
    told = run_object(view(RunStatus.FAILED, error=refused_booking(), compensation="none"), TOLD_AT_ONCE)
    assert "compensation" not in told
    assert told["next"] == (
        'Nothing was undone. resume_run with request {"query":{…},"json":{…}} or input {…} corrected; '
        "or start again with other input."
    )


def test_a_cancel_that_came_too_late_says_so() -> None:
    ended = view(RunStatus.COMPLETED, finished_at=NOW - timedelta(minutes=3))
    assert nothing_to_cancel(ended, NOW) == "Nothing to cancel: it ended 3 min ago."


def test_texts_of_services_are_bounded() -> None:
    error = StepError("http_400", "x" * 5000, request={"json": {"blob": "y" * 5000}}, details={"z": "z" * 5000})
    told = run_object(view(RunStatus.PAUSED, error=error), TOLD_AT_ONCE)
    assert tokens(told) < 400
    assert told["error"]["request"] == "left out: 5020 bytes, {json: {blob: text of 5000 characters}}"


def test_a_line_of_the_list_tells_one_run_from_another() -> None:
    line = run_line(view(RunStatus.PAUSED, error=refused_booking(), idempotency_key="k1"), NOW)
    assert line == {
        "run_id": RUN_ID,
        "workflow": "saga_order_fulfillment",
        "version": 1,
        "status": "paused",
        "age": "41 s",
        "idempotency_key": "k1",
        "error": 'ship: POST /shipping/book answered 422: {"error":"status must be 200 or 201"}',
    }


def asks(number: int, **fields: Any) -> Waiting:
    name = f"items[{number}].ok"
    given: dict[str, Any] = {"by": "anyone", "message": f"Item {number}?"}
    return Waiting("approval", name, name, **given | fields)


@pytest.mark.parametrize(
    ("waits", "sentence"),
    [
        (
            [asks(0, by="person"), asks(1, by="person")],
            "A person decides: give the user the command, then call get_run with wait_seconds 50.",
        ),
        (
            [asks(0), Waiting("signal", "paid", "paid", "anyone")],
            (
                "Answer with signal_run with name and data (see schema); or call get_run with wait_seconds 50 "
                "until somebody else does."
            ),
        ),
        (
            [asks(0), asks(1, by="person")],
            (
                'By "person": give the user the command; by "anyone": signal_run with name and data (see schema). '
                "Then call get_run with wait_seconds 50."
            ),
        ),
    ],
)
def test_who_must_answer_is_said_before_anything_else(waits: list[Waiting], sentence: str) -> None:
    waiting = view(RunStatus.WAITING, waiting_for=tuple(waits), wake_at=NOW + timedelta(days=3))
    assert run_object(waiting, TOLD_AT_ONCE)["next"] == sentence
    working = view(RunStatus.RUNNING, waiting_for=tuple(waits), progress=Progress(3, ("other",)))
    told = run_object(working, TOLD_AT_ONCE)
    assert (told["next"], told["progress"]) == (sentence, {"completed": 3, "running": ["other"]})
    undoing = run_object(view(RunStatus.COMPENSATING, waiting_for=tuple(waits)), TOLD_AT_ONCE)
    assert undoing["next"] == f"What was completed is being undone. {sentence}"


def test_waits_for_one_signal_are_told_once_and_of_many_waits_the_first() -> None:
    signals = [Waiting("signal", "paid", f"items[{number}].paid", "anyone") for number in range(100)]
    told = run_object(view(RunStatus.WAITING, waiting_for=tuple(signals)), TOLD_AT_ONCE)
    assert told["waiting_for"] == [{"kind": "signal", "name": "paid", "by": "anyone"}]
    assert "waiting_for_omitted" not in told
    form = {"type": "object", "properties": {f"field_{number}": {"type": "string"} for number in range(1000)}}
    waits = tuple(asks(number, message="m" * 100_000, schema=form) for number in range(100))
    told = run_object(view(RunStatus.WAITING, waiting_for=waits), TOLD_AT_ONCE)
    assert (len(told["waiting_for"]), told["waiting_for_omitted"]) == (5, 95)
    assert size_of(told) < 10_000


def test_the_command_for_a_person_survives_the_shell() -> None:
    wait = asks(0, by="person")
    told = run_object(view(RunStatus.WAITING, waiting_for=(wait,)), Telling(NOW, ways=Ways("/home/anna b/runs.db")))
    command = told["waiting_for"][0]["command"]
    assert shlex.split(command) == [
        "mcp-workflows", "signal", RUN_ID, "items[0].ok", "--database", "/home/anna b/runs.db"
    ]  # fmt: skip


def test_a_run_that_waits_says_what_else_it_takes_to_go_on() -> None:
    with_client = Telling(NOW, ways=Ways(ends_with_client=True))
    ends = "It goes on only while a server is up, and this one ends with its client."
    by_itself = view(RunStatus.WAITING, wake_at=NOW + timedelta(hours=3))
    assert run_object(by_itself, with_client)["next"].endswith(f"nobody has to answer. {ends}")
    asked = view(RunStatus.WAITING, waiting_for=(asks(0, by="person"),))
    way = "A person decides: give the user the command, then call get_run with wait_seconds 50."
    assert run_object(asked, with_client)["next"] == f"{way} {ends}"
    assert run_object(asked, TOLD_AT_ONCE)["next"] == way
    stranded = view(RunStatus.WAITING, waiting_for=(asks(0, by="person"),), stranded="it lacks TOKEN")
    assert run_object(stranded, with_client)["next"] == (
        f"{way} No server that is up can go on with it: it lacks TOKEN. "
        "Tell the user; it goes on by itself once one can."
    )


def test_however_much_was_undone_only_some_of_it_is_named() -> None:
    steps = tuple(f"items[{number}].charge" for number in range(10_000))
    failed = view(
        RunStatus.FAILED, compensation="incomplete", undone=steps, not_undone=tuple(NotUndone(s, "no") for s in steps)
    )
    told = run_object(failed, TOLD_AT_ONCE)
    assert (len(told["undone"]), told["undone_omitted"]) == (20, 9980)
    assert (len(told["not_undone"]), told["not_undone_omitted"]) == (20, 9980)
    assert "items[4].charge and 9995 more are still in effect" in told["next"]
    assert size_of(told) < 5_000


def test_a_child_that_was_undone_with_its_parent_says_so() -> None:
    told = run_object(view(RunStatus.COMPENSATED), TOLD_AT_ONCE)
    assert told["next"] == "It had completed, and was undone with the run that had started it."
