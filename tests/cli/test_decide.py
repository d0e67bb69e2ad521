"""``resume`` and ``cancel``, from another process than the server's."""

from __future__ import annotations

import getpass

import pytest

from mcp_workflows.samples.faults import Fault
from tests.cli.place import TRIAL, Place

ADA = '{"email": "ada@example.com"}'


@pytest.fixture
def paused(trial: Place) -> Place:
    """A run that is paused, for the mail service refused the message once."""
    trial.define("start_trial", TRIAL.replace("on_failure: compensate", "on_failure: pause"))
    trial.misbehave(Fault("mail", "POST", "/messages", "answer", status=422, body={"error": "no mailbox"}))
    assert trial.call("run", "start_trial", "-i", ADA).code == 3
    return trial


def run_id_of(place: Place) -> str:
    return place.call("runs", "--json").json["runs"][0]["run_id"]


def test_a_paused_run_goes_on_with_a_correction_and_who_asked_is_recorded(paused: Place):
    run_id = run_id_of(paused)
    (sent,) = (line for line in paused.call("show", run_id).stdout.splitlines() if line.startswith("sent "))
    assert '"to": "ada@example.com"' in sent
    correction = '{"json": {"to": "ada2@example.com"}}'
    with paused.server():
        told = paused.call("resume", run_id, "--request", correction, "--reason", "typo", "--watch")
    assert told.code == 0
    assert "✓ completed" in told.stdout
    assert paused.books()["mail"]["messages"]["m_1"]["to"] == "ada2@example.com"
    shown = paused.call("show", run_id).stdout
    assert f"by cli:{getpass.getuser()}: typo" in shown
    assert "corrected" in shown


def test_a_call_that_may_have_taken_place_is_resumed_only_with_what_somebody_found_out(trial: Place):
    text = TRIAL.replace("on_failure: compensate", "on_failure: pause").replace(
        "  - id: mail\n", "  - id: mail\n    at_most_once: true\n"
    )
    trial.define("start_trial", text)
    trial.misbehave(Fault("mail", "POST", "/messages", "drop", done=True))
    told = trial.call("run", "start_trial", "-i", ADA)
    assert told.code == 3
    assert "with --output (it took place) or --again (make it again), or mcp-workflows cancel" in told.stderr


def test_where_only_a_doubt_is_left_nobody_is_sent_to_try_the_undoing_again(trial: Place):
    trial.misbehave(Fault("mail", "POST", "/messages", "answer", status=300))
    told = trial.call("run", "start_trial", "-i", ADA)
    assert told.code == 1
    assert "not undone mail: it is in doubt whether it took place" in told.stderr
    assert "mcp-workflows resume" not in told.stderr
    with trial.server():
        assert trial.call("resume", run_id_of(trial), "--as", "cli:anna", "--watch").code == 1
    shown = trial.call("show", run_id_of(trial)).stdout
    assert "resume" in shown
    assert "by cli:anna" in shown
    assert "seq" not in shown, "what only the machine needs"


def test_cancel_undoes_what_was_completed(paused: Place):
    with paused.server():
        told = paused.call("cancel", run_id_of(paused), "--watch", "--json")
    assert (told.code, told.json["status"], told.json["undone"]) == (0, "cancelled", ["account"])
    assert paused.books()["crm"]["accounts"]["a_1"]["deleted"]


def test_cancel_without_compensation_leaves_things_as_they_are(paused: Place):
    with paused.server():
        told = paused.call("cancel", run_id_of(paused), "--no-compensate", "--as", "cli:anna", "--watch", "--json")
    assert (told.code, told.json["status"]) == (0, "cancelled")
    assert not paused.books()["crm"]["accounts"]["a_1"].get("deleted")
    assert "by cli:anna" in paused.call("show", run_id_of(paused)).stdout


def test_where_no_server_is_up_the_request_waits_and_is_not_lost(paused: Place):
    run_id = run_id_of(paused)
    told = paused.call("resume", run_id, "--reason", "later")
    assert told.code == 4
    assert "Recorded, but no server is up on this database" in told.stderr
    with paused.server():
        statuses = (paused.call("show", run_id, "--json").json["status"] for _ in range(200))
        assert next((status for status in statuses if status != "paused"), None) in ("running", "completed")
        assert paused.call("show", run_id, "--watch", "--json").json["status"] == "completed"


def test_what_the_run_cannot_do_is_refused(paused: Place):
    run_id = run_id_of(paused)
    unneeded = paused.call("resume", run_id, "--again")
    both = paused.call("resume", run_id, "--skip", "--output", "{}")
    url = paused.call("resume", run_id, "--request", '{"url": "http://elsewhere.example/"}')
    assert (unneeded.code, both.code, url.code) == (2, 2, 2)
    assert "must run at most once" in unneeded.stderr
    assert "only one of" in both.stderr
    assert "url" in url.stderr


def test_a_run_that_has_ended_cannot_be_resumed_and_need_not_be_cancelled(trial: Place):
    assert trial.call("run", "start_trial", "-i", ADA).code == 0
    run_id = run_id_of(trial)
    resumed, cancelled = trial.call("resume", run_id), trial.call("cancel", run_id)
    assert (resumed.code, cancelled.code) == (2, 0)
    assert "is completed: nothing to resume" in resumed.stderr
