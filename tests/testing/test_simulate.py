"""Tests written in Python: ``simulate`` takes what a test file says, and functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.definition.loader import load_file
from mcp_workflows.testing import Call, TestBroken, simulate
from tests.testing.place import HEAD
from tests.testing.workflows import LOOP, PEOPLE, POST


def flow(folder: Path, steps: str) -> Path:
    file = folder / "flow.yaml"
    file.write_text(HEAD + steps)
    return file


def test_a_run_is_simulated_and_its_result_can_be_asked_anything(tmp_path: Path):
    answers = {
        "one": [{"status": 503}, {"output": {"id": 1}}],
        "two": {"status": 422},
        "one:compensate": {"status": 204},
    }
    result = simulate(flow(tmp_path, POST), {"n": 3}, answers=answers, vars={"URL": "http://x.example"})
    assert (result.status, result.undone, result.not_undone) == ("failed", ("one",), ())
    assert result.error is not None
    assert (result.error["code"], result.error["step"]) == ("http_422", "two")
    assert result.called == ["one", "one", "two", "one:compensate"]
    assert result.calls[1].request["url"] == "http://x.example/ones/3"
    assert result.calls[1].after == result.took == timedelta(seconds=1)


def test_an_answer_may_be_a_function_of_the_call(tmp_path: Path):
    def upload(call: Call) -> dict[str, Any]:
        return {"status": 400} if call.request["path"].endswith("/b") else {"output": call.step}

    result = simulate(load_file(flow(tmp_path, LOOP)), answers={"upload": upload})
    assert result.output == ["resize[0].upload", None, "resize[2].upload"]


def test_people_signals_resume_and_cancel_are_given_as_in_files(tmp_path: Path):
    result = simulate(
        flow(tmp_path, PEOPLE),
        signals=[{"step": "approve", "decision": "rejected", "by": "bob"}, {"name": "paid", "data": {"amount": 3}}],
        starts_at=datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert (result.status, result.output["by"], result.output["paid"]) == ("completed", "bob", 3)
    paused = flow(tmp_path, "on_failure: pause\n" + POST)
    answers = {"one": {"output": {"id": 1}}, "two": {"status": 400}, "one:compensate": {"status": 204}}
    assert simulate(paused, answers=answers).status == "paused"
    assert simulate(paused, answers=answers, resume=[{"output": {"id": 9}}]).output == {"two": 9}
    assert simulate(paused, answers=answers, cancel={}).undone == ("one",)


def test_a_step_without_an_answer_fails_the_test_of_pytest(tmp_path: Path):
    with pytest.raises(TestBroken, match="the test has no answer for it") as broken:
        simulate(flow(tmp_path, POST))
    assert isinstance(broken.value, AssertionError)
    assert broken.value.step == "one"


def test_input_that_is_refused_is_a_result(tmp_path: Path):
    result = simulate(flow(tmp_path, POST), {"n": "x"})
    assert (result.status, result.refused) == ("refused", 'n: "x" is a string, expected integer.')


@pytest.mark.parametrize(
    "wrong",
    [
        {"answers": {"won": {"output": 1}}},
        {"answers": {"one": {"output": 1, "status": 200}}},
        {"signals": [{"by": "me"}]},
        {"vars": {"NOPE": 1}},
        {"resume": [{"skip": True, "output": 1}]},
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, wrong: Any):
    with pytest.raises(ValueError, match=r".+"):
        simulate(flow(tmp_path, POST), **wrong)
