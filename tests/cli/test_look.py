"""``runs``, ``show`` and ``nodes``: looking, from another process than the one that moves runs."""

from __future__ import annotations

import signal

import pytest

from mcp_workflows.samples.faults import Fault
from mcp_workflows.store.locks import FileLock
from tests.cli.place import Place

ADA = '{"email": "ada@example.com"}'
BOB = '{"email": "bob@example.com"}'


@pytest.fixture
def two_runs(trial: Place) -> Place:
    """One run that failed, at the second attempt of its first step; then one that completed."""
    trial.misbehave(
        Fault("crm", "POST", "/accounts", "answer", status=503),
        Fault("mail", "POST", "/messages", "answer", status=422, body={"error": "no mailbox [/x]"}),
    )
    assert trial.call("run", "start_trial", "-i", ADA).code == 1
    assert trial.call("run", "start_trial", "-i", BOB).code == 0
    return trial


def test_ids_of_runs_can_be_copied_from_however_narrow_a_terminal(two_runs: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    told, known = two_runs.call("runs").stdout, two_runs.call("runs", "--json").json["runs"]
    for run in known:
        assert run["run_id"] in told
    assert "✓ completed" in told


def test_runs_are_listed_newest_first_and_filtered(two_runs: Place):
    rows = two_runs.call("runs").stdout.splitlines()
    assert "✓ completed" in rows[1]
    assert "✗ failed" in rows[2]
    assert "mail: POST /messages answered 422" in rows[2]
    assert "[/x]" in "".join(rows), "what a service said is no markup"
    failed = two_runs.call("runs", "--status", "failed", "--json").json["runs"]
    assert [run["input"]["email"] for run in failed] == ["ada@example.com"]
    assert two_runs.call("runs", "--workflow", "other", "--json").json["runs"] == []
    assert len(two_runs.call("runs", "--since", "1h", "--json").json["runs"]) == 2
    assert two_runs.call("runs", "--since", "2100-01-01", "--json").json["runs"] == []


def test_pages_lead_on_by_their_cursor(two_runs: Place):
    first = two_runs.call("runs", "--limit", "1", "--json").json
    second = two_runs.call("runs", "--limit", "1", "--cursor", first["next_cursor"], "--json").json
    assert [run["status"] for run in (*first["runs"], *second["runs"])] == ["completed", "failed"]


def test_a_run_is_shown_with_its_attempts_errors_and_what_was_undone(two_runs: Place):
    run_id = two_runs.call("runs", "--status", "failed", "--json").json["runs"][0]["run_id"]
    told = two_runs.call("show", run_id[:12])
    assert told.code == 0
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert lines[0] == f"start_trial version 1 {run_id}"
    assert any("✗ account" in line and "attempt 1: POST /accounts answered 503 [in doubt]" in line for line in lines)
    assert any("↺ account" in line and "2 attempts" in line and "undone later" in line for line in lines)
    assert any("✗ mail" in line and "answered 422" in line for line in lines)
    assert any("✓ undo account" in line for line in lines)
    assert "undone account" in lines


def test_show_as_json_holds_all_that_is_recorded(two_runs: Place):
    run_id = two_runs.call("runs", "--status", "failed", "--json").json["runs"][0]["run_id"]
    run = two_runs.call("show", run_id, "--json").json
    steps = {step["path"]: step for step in run["steps"]}
    assert steps["account"]["output"]["id"] == "a_1"
    assert [attempt["error"]["code"] for attempt in steps["account"]["failed_attempts"]] == ["http_503"]
    assert steps["mail"]["error"]["body"] == {"error": "no mailbox [/x]"}
    assert run["compensation"] == "done"


def test_an_unknown_run_is_told_with_the_place_and_the_newest(two_runs: Place):
    newest = two_runs.call("runs", "--json").json["runs"][0]["run_id"]
    told = two_runs.call("show", newest[:9])
    assert told.code == 2
    assert "An id may be cut to its first 10 characters, and no more." in " ".join(told.stderr.split())
    assert two_runs.call("show", newest[:10]).code == 0
    told = two_runs.call("show", "r_0000000000")
    assert "may be cut" not in told.stderr
    assert told.code == 2
    assert str(two_runs.folder / ".mcp-workflows" / "runs.db") in told.stderr
    assert "start_trial  completed" in told.stderr


@pytest.mark.parametrize("command", [["runs"], ["show", "r_00000000"], ["resume", "r_00000000"], ["nodes"]])
def test_where_there_is_no_database_the_place_is_told_and_none_is_made(place: Place, command: list[str]):
    told = place.call(*command)
    assert told.code == 2
    assert f"there is no database at {place.folder / '.mcp-workflows' / 'runs.db'}" in told.stderr
    assert "--definitions" in told.stderr
    assert not (place.folder / ".mcp-workflows").exists()


def test_an_unknown_status_is_refused_with_the_known_ones(place: Place):
    told = place.call("runs", "--status", "complted")
    assert told.code == 2
    assert 'Did you mean "completed"?' in " ".join(told.stderr.replace("│", "").split())


def test_commands_that_only_look_say_nothing_of_the_dead_whose_runs_they_release(two_runs: Place):
    with two_runs.server() as server:
        with two_runs.server() as later:
            pass
        names = [node["name"].split(" on ")[0] for node in two_runs.call("nodes", "--json").json["nodes"]]
        assert names[:2] == [f"server {server.pid}", f"server {later.pid}"]  # those that are up come first
        server.kill()
        server.wait()
        _, complaints = two_runs.start("nodes").communicate(timeout=20)
    assert complaints == ""


def test_a_process_that_says_nothing_is_silent_though_nobody_is_there_to_find_it_dead(
    two_runs: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MCP_WORKFLOWS_LEASE_SECONDS", "2")
    state = ""
    with two_runs.server() as server:
        with FileLock(two_runs.folder / ".mcp-workflows/runs.db.lock"):  # or it might be stopped while it holds it
            server.send_signal(signal.SIGSTOP)
        try:
            while state in {"", "up"}:  # it has written only just now
                state = two_runs.call("nodes", "--json").json["nodes"][0]["state"]
            assert state == "silent"
            assert "silent" in two_runs.call("nodes").stdout
        finally:
            server.send_signal(signal.SIGCONT)
        while state == "silent":
            state = two_runs.call("nodes", "--json").json["nodes"][0]["state"]
        assert state == "up"


def test_nodes_are_the_processes_that_move_runs_and_not_those_that_look(two_runs: Place):
    with two_runs.server() as server:
        nodes = two_runs.call("nodes", "--json").json["nodes"]
        assert nodes[0]["name"].startswith(f"server {server.pid} on ")
        assert nodes[0]["role"] == "server"
        assert "ended_at" not in nodes[0]
        server.kill()
        server.wait()
    nodes = two_runs.call("nodes", "--json").json["nodes"]
    assert nodes[0]["crashed"]
    assert {node["name"].split()[0] for node in nodes} == {"server", "runner"}
