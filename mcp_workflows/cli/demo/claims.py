"""What the demo claims, each checked against what the services and the database say. One false claim fails the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from mcp_workflows.engine.states import RunStatus, StepStatus
from mcp_workflows.runtime.views import Trace
from mcp_workflows.samples.calls import Call, by_key


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence, and whether it is so."""

    sentence: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one act. ``killed_at``: the number of calls when the server was killed."""

    trace: Trace
    calls: Sequence[Call]
    books: Mapping[str, Any]
    email: str
    killed_at: int = 0

    def of(self, what: str) -> list[Call]:
        """The calls of ``service METHOD /path``."""
        return [call for call in self.calls if call.what == what]

    def account(self) -> Mapping[str, Any]:
        """The customer's account in the books of the CRM; empty where there is none."""
        accounts = [one for one in self.books["crm"].get("accounts", {}).values() if one["email"] == self.email]
        return accounts[0] if len(accounts) == 1 else {}

    def charges(self) -> list[Mapping[str, Any]]:
        account = self.account().get("id")
        return [one for one in self.books["billing"].get("charges", {}).values() if one["account"] == account]


def of_survival(seen: Evidence, first_run_id: str) -> list[Claim]:
    """After the server was killed in the middle."""
    accounts, charges = seen.of("crm POST /accounts"), seen.of("billing POST /charges")
    mails = seen.of("mail POST /messages")
    late = [call for call in accounts if call.number >= seen.killed_at]
    return [
        Claim("the run that was killed is the run that finished", _completed(seen, first_run_id)),
        Claim("the account was recorded before the kill and was not asked for again", bool(accounts) and not late),
        Claim("the charge in flight was asked for again, under the same key", len(charges) == 2 and _one_key(charges)),
        Claim("the customer was charged once", len(seen.charges()) == 1 and _effects(charges) == 1),
        Claim("the 503 and the dropped connection were tried again", len(accounts) == 2 and len(mails) == 2),
        Claim("one account, one welcome mail", bool(seen.account()) and _effects(accounts) == _effects(mails) == 1),
    ]


def of_undoing(seen: Evidence) -> list[Claim]:
    """After the last step failed for good."""
    mails, refunds = seen.of("mail POST /messages"), seen.of("billing POST /refunds")
    deleted = [call for call in seen.calls if call.method == "DELETE"]
    in_order = bool(refunds) and bool(deleted) and refunds[-1].number < deleted[0].number
    undone = {step.path for step in seen.trace.steps if step.status is StepStatus.COMPENSATED}
    run = seen.trace.run
    return [
        Claim("the mail that was refused for good was tried once", len(mails) == 1 and mails[0].status == 422),
        Claim("the run failed, and says that everything was undone", _failed_undone(run.status, run.compensation)),
        Claim("undone in reverse: first the charge, then the account", in_order and undone == {"charge", "account"}),
        Claim("the refund that met a 503 was tried again, under the same key", len(refunds) == 2 and _one_key(refunds)),
        Claim("the customer was refunded once", _effects(refunds) == 1),
        Claim("no account is left behind", bool(seen.account().get("deleted"))),
    ]


def claims_table(claims: Sequence[Claim]) -> Table:
    """Every claim with its sign."""
    table = Table.grid(padding=(0, 1))
    for claim in claims:
        mark = Text("✓", "good") if claim.holds else Text("✗", "bad")
        table.add_row("", mark, claim.sentence if claim.holds else Text(f"{claim.sentence}: NOT SO", "bad"))
    return table


def calls_table(evidence: Sequence[Evidence]) -> Table:
    """How often each service was called under which key, and how often that had an effect."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)  # whole in 80 columns
    for title, justify in _CALL_COLUMNS:
        table.add_column(title, justify=justify, overflow="fold")
    for seen in evidence:
        table.add_row(Text(f"for {seen.email}", "dim"))
        for (what, key), group in by_key(seen.calls).items():
            answers = ", ".join(str(call.status or "none") for call in group)
            table.add_row(f" {what}", Text(_shortened(key), "dim"), str(len(group)), str(_effects(group)), answers)
    return table


_CALL_COLUMNS: Final[Sequence[tuple[str, JustifyMethod]]] = (
    ("service called", "left"),
    ("idempotency key", "left"),
    ("calls", "right"),
    ("effects", "right"),
    ("answers", "left"),
)


def _completed(seen: Evidence, run_id: str) -> bool:
    return seen.trace.run.run_id == run_id and seen.trace.run.status is RunStatus.COMPLETED


def _failed_undone(status: RunStatus, compensation: str | None) -> bool:
    return status is RunStatus.FAILED and compensation == "done"


def _one_key(calls: Sequence[Call]) -> bool:
    return len({call.key for call in calls}) == 1 and calls[0].key is not None


def _effects(calls: Sequence[Call]) -> int:
    return sum(call.effect for call in calls)


def _shortened(key: str | None) -> str:
    if key is None:
        return "none"
    run_id, colon, step = key.partition(":")
    return f"{run_id[:8]}…{colon}{step}" if colon else key
