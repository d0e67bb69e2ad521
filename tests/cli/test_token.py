"""``token``: what it makes is taken by a server, at once and for as long as its line stands in the file."""

from __future__ import annotations

import signal
import stat

import httpx2
import pytest

from tests.cli.place import TRIAL, Place
from tests.mcp_server.requests import HEADERS, INITIALIZE


def test_a_token_is_printed_once_and_kept_by_its_hash_in_a_file_of_its_owner(place: Place):
    told = place.call("token", "anna", "--file", "tokens", "--scope", "workflows:run", "--scope", "workflows:approve")
    assert told.code == 0
    token = told.stdout.strip()
    file = place.folder / "tokens"
    line = file.read_text("utf-8")
    assert token.startswith("mcpw_")
    assert token not in line
    assert line.split()[0::2] == ["anna", "workflows:run"]
    assert line.endswith(" workflows:approve\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("# no line break at the end", "utf-8")
    assert place.call("token", "robot", "--file", "tokens").code == 0
    assert file.read_text("utf-8").splitlines()[1].startswith("robot sha256:")


def test_tokens_that_are_made_at_the_same_time_all_stand_in_the_file(place: Place):
    making = [place.start("token", f"actor{number}", "--file", "tokens") for number in range(6)]
    assert [process.wait(60) for process in making] == [0] * 6
    for process in making:
        process.communicate()
    lines = (place.folder / "tokens").read_text("utf-8").splitlines()
    assert sorted(line.split()[0] for line in lines if line) == [f"actor{number}" for number in range(6)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["anna"], "Say where tokens are kept"),
        (["local", "--file", "tokens"], '"local" cannot be the name of an actor'),
        (["a b", "--file", "tokens"], '"a b" cannot be the name of an actor here: it holds a space'),
        (["", "--file", "tokens"], '"" cannot be the name of an actor'),
        (["anna", "--file", "tokens", "--scope", "workflows:rnu"], '"workflows:rnu" is no scope. There are workflows:'),
        (["anna", "--file", "nowhere/tokens"], "cannot be written"),
        (["anna", "--file", "broken"], "broken:1: after the actor comes sha256:"),
    ],
)
def test_what_no_line_can_say_is_refused_and_nothing_is_written(place: Place, arguments: list[str], said: str):
    (place.folder / "broken").write_text("no line\n", "utf-8")
    told = place.call("token", *arguments)
    assert told.code == 2
    assert said in " ".join(told.stderr.split())
    assert not (place.folder / "tokens").exists()
    assert (place.folder / "broken").read_text("utf-8") == "no line\n"


def test_a_server_beyond_loopback_takes_the_token_until_its_line_is_gone(place: Place, monkeypatch: pytest.MonkeyPatch):
    place.define("start_trial", TRIAL)
    monkeypatch.setenv("MCP_WORKFLOWS_TOKENS", "tokens")
    monkeypatch.setenv("MCP_WORKFLOWS_PUBLIC_URL", "https://flows.example")
    token = place.call("token", "anna").stdout.strip()
    process = place.start("serve", "--http", "0.0.0.0:0")
    assert process.stderr is not None
    seen: list[str] = []
    while not seen or "Ctrl-C" not in seen[-1]:
        seen.append(process.stderr.readline())
        assert seen[-1], "".join(seen)
    text = "".join(seen)
    assert "claude mcp add --transport http workflows https://flows.example/mcp" in text
    assert "with the header Authorization: Bearer mcpw_…" in text
    url = next(line.strip() for line in seen if line.startswith("http://0.0.0.0:")).replace("0.0.0.0", "127.0.0.1")

    def status(**headers: str) -> int:
        return httpx2.post(url, json=INITIALIZE, headers={**HEADERS, **headers}, trust_env=False).status_code

    assert status() == 401
    assert status(Authorization=f"Bearer {token}") == 200
    (place.folder / "tokens").write_text("", "utf-8")
    assert status(Authorization=f"Bearer {token}") == 401
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_file_of_tokens_that_is_not_there_keeps_the_server_from_starting(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MCP_WORKFLOWS_TOKENS", "tokens")
    told = place.call("serve", "--http", "127.0.0.1:0")
    assert told.code == 2
    assert "tokens cannot be read" in told.stderr
