"""``run``: the result on stdout, the picture on stderr, and what the exit code says."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mcp_workflows.samples.faults import Fault
from tests.cli.place import TRIAL, Place

ADA = '{"email": "ada@example.com"}'
ORDER = """
name: order
description: Orders something and waits to be called.
steps:
  - id: ordered
    http: {method: POST, url: "http://127.0.0.1:1/orders", json: {notify: "${callback_url}"}, callback: true}
"""
NO_MAILBOX = Fault("mail", "POST", "/messages", "answer", status=422, body={"error": "no mailbox"}, times=None)


def test_a_completed_run_gives_its_result_on_stdout_and_its_course_on_stderr(trial: Place):
    told = trial.call("run", "start_trial", "--input", ADA)
    assert told.code == 0
    assert told.json == {"account": "a_1"}
    assert "✓ account" in told.stderr
    assert "✓ completed" in told.stderr


def test_a_failed_run_undoes_and_exits_with_1(trial: Place):
    trial.misbehave(NO_MAILBOX)
    told = trial.call("run", "start_trial", "--input", ADA)
    assert (told.code, told.stdout) == (1, "")
    assert 'mail: POST /messages answered 422: {"error":"no mailbox"} (http_422)' in told.stderr
    assert "undone account" in told.stderr
    assert trial.books()["crm"]["accounts"]["a_1"]["deleted"]


def test_a_paused_run_exits_with_3_and_says_what_to_do(trial: Place):
    trial.define("start_trial", TRIAL.replace("on_failure: compensate", "on_failure: pause"))
    trial.misbehave(NO_MAILBOX)
    told = trial.call("run", "start_trial", "--input", ADA)
    assert told.code == 3
    assert "decide mcp-workflows resume r_" in told.stderr
    assert "(undoes account)" in told.stderr


def test_json_is_one_document_with_the_run(trial: Place):
    run = trial.call("run", "start_trial", "--input", ADA, "--json").json
    assert run["status"] == "completed"
    assert run["result"] == {"account": "a_1"}
    assert run["input"] == {"email": "ada@example.com"}
    assert run["workflow"] == "start_trial"
    assert run["created_at"].endswith("Z")


def test_input_comes_from_a_file_or_from_stdin(trial: Place):
    Path("input.json").write_text(ADA)
    assert trial.call("run", "start_trial", "--input", "@input.json").json == {"account": "a_1"}
    assert trial.call("run", "start_trial", "--input", "-", stdin=ADA).json == {"account": "a_2"}


def test_the_same_key_is_answered_with_the_same_run(trial: Place):
    first = trial.call("run", "start_trial", "--input", ADA, "--key", "k1", "--json").json
    again = trial.call("run", "start_trial", "--input", ADA, "--key", "k1", "--json").json
    other = trial.call("run", "start_trial", "--input", '{"email": "bob@example.com"}', "--key", "k1")
    assert first["run_id"] == again["run_id"]
    assert other.code == 2
    assert first["run_id"] in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start_trail"], 'no workflow "start_trail" in definitions. Did you mean "start_trial"?'),
        (["start_trial"], "input refused, no run was started. "),
        (["start_trial", "-i", "{'email': 'a'}"], "JSON has double quotes"),
        (["start_trial", "-i", "email.json"], "For a file write @file."),
        (["start_trial", "-i", "@nowhere.json"], 'cannot read "nowhere.json": No such file'),
        (["start_trial", "-d", "elsewhere"], "elsewhere"),
        (["start_trial", "--database", "mysql://u:p@h/d"], "mysql is not supported"),
    ],
)
def test_a_wrong_call_exits_with_2_changes_nothing_and_says_what_to_do(place: Place, arguments: list[str], said: str):
    place.define("start_trial", TRIAL)
    told = place.call("run", *arguments)
    assert (told.code, told.stdout) == (2, "")
    assert said in told.stderr
    assert "Traceback" not in told.stderr


def test_a_broken_file_beside_is_named_where_a_workflow_is_missing(place: Place):
    place.define("broken", "name: broken\nsteps: [")
    told = place.call("run", "broken")
    assert told.code == 2
    assert "mcp-workflows validate definitions/broken.yaml" in told.stderr


def test_a_detached_run_begins_when_a_server_is_up(trial: Place):
    told = trial.call("run", "start_trial", "--input", ADA, "--detach")
    run_id = told.stdout.strip()
    assert told.code == 0
    assert "No server is up" in told.stderr
    assert trial.call("runs", "--json").json["runs"][0]["status"] == "pending"
    with trial.server():
        watched = trial.call("show", run_id, "--watch", "--json")
    assert (watched.code, watched.json["status"]) == (0, "completed")


def test_a_detached_run_that_no_server_which_is_up_could_move_says_so(trial: Place):
    trial.define("order", ORDER)
    process = trial.start("serve")  # on stdio: nobody can call it
    run_id = trial.call("run", "order", "--detach").stdout.strip()
    looks = (trial.call("show", run_id, "--json") for _ in range(2000))
    assert next((look for look in looks if "stranded" in look.json), None), (
        "it looks at the first one before it leaves it"
    )
    told = trial.call("run", "order", "--detach", "--key", "another")
    process.communicate(timeout=60)
    assert told.code == 0
    assert "No server that is up can go on with it: its step " in told.stderr
    assert "serve the same database with --http too" in told.stderr


def test_a_run_that_waits_to_be_called_says_that_it_waits_for_a_server_over_http(trial: Place):
    trial.define("order", ORDER)
    process = trial.start("run", "order")
    assert process.stderr is not None
    while "No server that is up" not in (line := process.stderr.readline()):
        assert line, "the run ended at once"
    assert "its step ordered waits for a call" in line
    process.send_signal(2)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "is safe. It goes on when a server is up" in stderr
    assert trial.call("runs", "--json").json["runs"][0]["status"] == "pending"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_the_run_safe_and_say_how_it_goes_on(trial: Place, number: signal.Signals):
    trial.misbehave(Fault("mail", "POST", "/messages", "hold"))
    process = trial.start("run", "start_trial", "--input", ADA)
    assert process.stderr is not None
    while "account" not in (line := process.stderr.readline()):
        assert line, "the run ended at once"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert {node["state"] for node in trial.call("nodes", "--json").json["nodes"]} == {"left"}
    assert "is safe. It goes on when a server is up" in stderr
    assert "Traceback" not in stderr
