"""``serve``: how it is started, what it says, and how it ends."""

from __future__ import annotations

import json
import signal
import time

import httpx2
import pytest

from mcp_workflows.samples.faults import Fault
from tests.cli.place import TRIAL, Place

ADA = '{"email": "ada@example.com"}'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--http", "127.0.0.1:notaport"], "write HOST:PORT, such as 127.0.0.1:8911"),
        (["--http", "0.0.0.0:0"], "nobody has to authenticate"),
        (["--http", "[::]:0"], ":: can be reached from other machines, and nobody has to authenticate"),
        (["--database", "mysql://h/db"], "mysql is not supported. Write sqlite:///path/to/runs.db, or postgresql://"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_remedy(place: Place, arguments: list[str], said: str):
    told = place.call("serve", *arguments)
    assert told.code == 2
    assert said in " ".join(told.stderr.replace("│", " ").split())


def test_a_setting_with_a_typo_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCP_WORKFLOWS_HTTP_ALOWED_HOSTS", "x")
    told = place.call("serve")
    assert told.code == 2
    assert "Did you mean MCP_WORKFLOWS_HTTP_ALLOWED_HOSTS?" in told.stderr


def test_the_welcome_names_the_url_the_tools_and_how_to_add_it(place: Place):
    place.define("start_trial", TRIAL)
    place.define("broken", "name: broken\nsteps: [")
    process = place.start("serve", "--http", "127.0.0.1:0")
    assert process.stderr is not None
    seen: list[str] = []
    while not seen or "Ctrl-C" not in seen[-1]:
        seen.append(process.stderr.readline())
        assert seen[-1], "".join(seen)
    url = next(line.strip() for line in seen if line.startswith("http://127.0.0.1:"))
    health = httpx2.get(url.removesuffix("/mcp") + "/healthz", trust_env=False).json()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0
    text = "".join(seen)
    assert (health["status"], health["workflows"]) == ("ok", 1)
    assert "● start_trial" in text
    assert "1 broken: mcp-workflows validate definitions/broken.yaml" in text
    assert f"claude mcp add --transport http workflows {url}" in text
    assert str(place.folder / ".mcp-workflows" / "runs.db") in text


def test_an_ipv6_address_is_told_as_clients_write_it(place: Place):
    place.define("start_trial", TRIAL)
    process = place.start("serve", "--http", "[::1]:0")
    assert process.stderr is not None
    url = ""
    while "/mcp" not in url:
        url = process.stderr.readline().strip()
        assert url, "the server ended at once"
    assert url.startswith("http://[::1]:")
    assert httpx2.get(url.removesuffix("/mcp") + "/healthz", trust_env=False).json()["status"] == "ok"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_sigterm_ends_it_within_two_seconds_and_hands_its_runs_over(trial: Place):
    trial.misbehave(Fault("mail", "POST", "/messages", "hold"))
    with trial.server() as process:
        run_id = trial.call("run", "start_trial", "-i", ADA, "--detach").stdout.strip()
        steps: list[str] = []
        while "account" not in steps:
            steps = [step["path"] for step in trial.call("show", run_id, "--json").json["steps"]]
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        assert time.monotonic() - begun < 2.0
        assert process.returncode == 0
    assert "owner" not in trial.call("show", run_id, "--json").json
    with trial.server():
        assert trial.call("show", run_id, "--watch").code == 0
    assert len(trial.books()["crm"]["accounts"]) == 1


def test_on_stdio_only_the_protocol_is_written_to_stdout(place: Place):
    place.define("start_trial", TRIAL)
    process = place.start("serve")
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(hello) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    stdout, stderr = process.communicate(timeout=10)
    assert json.loads(answer)["result"]["serverInfo"]["name"] == "mcp-workflows"
    assert stdout == ""
    assert process.returncode == 0
    assert "Traceback" not in stderr


def test_what_was_named_and_is_not_there_is_a_mistake_and_not_an_empty_server(place: Place):
    told = place.call("serve", "nope", "--http", "127.0.0.1:0")
    assert told.code == 2
    assert "There is no nope. Name files or folders with definitions." in told.stderr


@pytest.mark.parametrize("address", ["foo", "foo:bar", "127.0.0.1:70000", "", "::1", "::1:8911", "[::1", "[::1]:x"])
def test_an_address_that_is_none_is_refused_with_an_example(place: Place, address: str):
    told = place.call("serve", "--http", address)
    assert told.code == 2
    assert "write HOST:PORT, such as 127.0.0.1:8911" in " ".join(told.stderr.replace("│", "").split())
