"""The demo: it shows what it claims, says so where it does not, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.cli.demo.claims import Claim, Evidence, of_survival, of_undoing
from mcp_workflows.cli.demo.story import ADA, BOB, DEFINITIONS
from mcp_workflows.engine.records import StepRecord
from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.runtime.views import Progress, RunView, Trace
from mcp_workflows.samples.calls import Call

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def demo(*arguments: str, temporary: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mcp_workflows", "demo", *arguments],
        env={**os.environ, "TMPDIR": str(temporary), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_every_claim_holds_and_nothing_is_left_behind(tmp_path: Path):
    told = demo("--json", temporary=tmp_path)
    assert told.returncode == 0, told.stderr
    claims = json.loads(told.stdout)["claims"]
    assert len(claims) == 14
    assert [one["claim"] for one in claims if not one["holds"]] == []
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_it_is_plain_text_and_the_database_can_be_kept(tmp_path: Path):
    kept = tmp_path / "kept"
    told = demo("--keep", str(kept), temporary=tmp_path, NO_COLOR="1")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "\x1b" not in told.stdout
    assert "SIGKILL  the server" in told.stdout
    assert "all of it happened" in told.stdout
    assert told.stderr == ""
    _, _, after = told.stdout.partition("What next\n")
    next_ = [line.split("  ")[1] for line in after.splitlines() if line.startswith("  mcp-workflows ")]
    assert [line.split()[1] for line in next_] == ["runs", "validate", "run", "install"]
    looked = subprocess.run(
        [sys.executable, "-m", *next_[0].replace("-", "_", 1).split()], capture_output=True, text=True
    )
    assert ("✓ completed" in looked.stdout, "✗ failed" in looked.stdout) == (True, True), looked


def test_it_shows_the_definition_that_the_repository_shows():
    shown = (DEFINITIONS / "onboard_customer.yaml").read_text()
    assert shown == (ROOT / "definitions" / "onboard_customer.yaml").read_text()


# Claims must be able to fail: each tampering of the evidence below makes one false.


def survived() -> Evidence:
    def call(number: int, what: str, key: str, **more: Any) -> Call:
        service, method, path = what.split()
        return Call(number, service, method, path, key, {}, open=False, **more)

    calls = [
        call(0, "crm POST /accounts", "k1", status=503),
        call(1, "crm POST /accounts", "k1", status=201, effect=True),
        call(2, "billing POST /charges", "k2", effect=True),
        call(3, "billing POST /charges", "k2", status=201, replayed=True),
        call(4, "mail POST /messages", "k3"),
        call(5, "mail POST /messages", "k3", status=202, effect=True),
    ]
    books = {
        "crm": {"accounts": {"a_1": {"id": "a_1", "email": ADA["email"]}}},
        "billing": {"charges": {"c_1": {"id": "c_1", "account": "a_1"}}},
    }
    run = RunView("r_1", "onboard_customer", 1, RunStatus.COMPLETED, ADA, NOW, "local", Progress(3))
    return Evidence(Trace(run, (), (), ()), calls, books, ADA["email"], killed_at=3)


def undone() -> Evidence:
    def call(number: int, what: str, key: str, **more: Any) -> Call:
        service, method, path = what.split()
        return Call(number, service, method, path, key, {}, open=False, **more)

    calls = [
        call(2, "mail POST /messages", "k3", status=422),
        call(3, "billing POST /refunds", "k4", status=503),
        call(4, "billing POST /refunds", "k4", status=201, effect=True),
        call(5, "crm DELETE /accounts/a_2", "k5", status=204, effect=True),
    ]
    books = {"crm": {"accounts": {"a_2": {"id": "a_2", "email": BOB["email"], "deleted": True}}}, "billing": {}}
    steps = [
        StepRecord(path, number, "http", StepStatus.COMPENSATED) for number, path in enumerate(["account", "charge"])
    ]
    run = RunView(
        "r_2", "onboard_customer", 1, RunStatus.FAILED, BOB, NOW, "local", Progress(2), compensation="done"
    )  # fmt: skip
    return Evidence(Trace(run, steps, (), ()), calls, books, BOB["email"])


def false_claims(claims: Sequence[Claim]) -> list[str]:
    return [claim.sentence for claim in claims if not claim.holds]


def test_true_evidence_makes_every_claim_true():
    assert false_claims(of_survival(survived(), "r_1")) == []
    assert false_claims(of_undoing(undone())) == []


def _with(index: int, **changes: Any) -> Callable[[Evidence], Evidence]:
    def tamper(seen: Evidence) -> Evidence:
        calls = list(seen.calls)
        calls[index] = replace(calls[index], **changes)
        return replace(seen, calls=calls)

    return tamper


def _without_the_last_call(seen: Evidence) -> Evidence:
    return replace(seen, calls=seen.calls[:-1])


def _with_empty_books(seen: Evidence) -> Evidence:
    return replace(seen, books={"crm": {}, "billing": {}})


def _run(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda seen: replace(seen, trace=replace(seen.trace, run=replace(seen.trace.run, **changes)))


@pytest.mark.parametrize(
    ("tamper", "claim"),
    [
        (_run(run_id="r_9"), "the run that was killed is the run that finished"),
        (_run(status=RunStatus.RUNNING), "the run that was killed is the run that finished"),
        (_with(1, number=4), "the account was recorded before the kill and was not asked for again"),
        (_with(3, key="k9"), "the charge in flight was asked for again, under the same key"),
        (_with(3, effect=True), "the customer was charged once"),
        (_with(5, effect=False), "one account, one welcome mail"),
        (_without_the_last_call, "the 503 and the dropped connection were tried again"),
    ],
)
def test_a_survival_that_did_not_happen_is_not_claimed(tamper: Callable[[Evidence], Evidence], claim: str):
    assert claim in false_claims(of_survival(tamper(survived()), "r_1"))


@pytest.mark.parametrize(
    ("tamper", "claim"),
    [
        (_run(compensation="incomplete"), "the run failed, and says that everything was undone"),
        (_with(0, status=202), "the mail that was refused for good was tried once"),
        (_with(2, number=9), "undone in reverse: first the charge, then the account"),
        (_with(2, key="k9"), "the refund that met a 503 was tried again, under the same key"),
        (_with(1, effect=True), "the customer was refunded once"),
        (_with_empty_books, "no account is left behind"),
    ],
)
def test_an_undoing_that_did_not_happen_is_not_claimed(tamper: Callable[[Evidence], Evidence], claim: str):
    assert claim in false_claims(of_undoing(tamper(undone())))
