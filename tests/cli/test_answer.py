"""``signal``: what a person at the terminal is shown, what they answer, and what becomes of it."""

from __future__ import annotations

import json

import pytest

from tests.cli.place import Place

REFUND = """\
name: refund
description: Asks a person before money goes back, then waits to hear that it arrived.
input: {properties: {amount: {type: integer, default: 40}}}
on_failure: pause
steps:
  - id: decide
    approval:
      message: Pay back ${string(input.amount)} EUR?
      timeout: 3d
      approvers: ["cli:anna", "cli:bob"]
      form:
        required: [account]
        properties: {account: {type: string}, fee: {type: integer, default: 0}}
  - id: arrived
    signal: {schema: {required: [day], properties: {day: {type: string}}}}
output: {account: "${steps.decide.output.form.account}", by: "${steps.decide.output.by}", day: "${steps.arrived.output.day}"}
"""

ANNA = ("--as", "cli:anna")
FORM = ("--form", '{"account": "DE1"}')


@pytest.fixture
def asking(place: Place) -> tuple[Place, str]:
    """A run that a server has left with a question, and which no server holds."""
    place.define("refund", REFUND)
    with place.server():
        run_id = place.call("run", "refund", "--detach").stdout.strip()
        needing = (place.call("runs", "--status", "needs_input", "--json").json["runs"] for _ in range(100))
        assert next((runs[0]["waits"] for runs in needing if runs), None) == ["decide"]
    return place, run_id


def test_an_answer_needs_no_server_and_takes_effect_when_one_comes(asking: tuple[Place, str]):
    place, run_id = asking
    told = place.call("signal", run_id, "decide", "--approve", *FORM, "--note", "is ok", *ANNA)
    assert told.code == 4
    assert "Pay back 40 EUR?" in told.stderr
    assert "form: account (string, required)" in told.stderr
    assert "form: fee (integer, default 0)" in told.stderr
    assert "Recorded, but no server is up" in told.stderr
    shown = place.call("show", run_id).stdout
    assert "→ answer decide" in shown

    again = place.call("signal", run_id, "decide", "--reject", "--as", "cli:bob")
    assert again.code == 2
    assert "decide was answered by cli:anna at" in again.stderr

    with place.server():
        done = place.call("signal", run_id, "arrived", "--data", '{"day": "Monday"}', "--watch", "--json")
        assert done.code == 0
        assert done.json["result"] == {"account": "DE1", "by": "cli:anna", "day": "Monday"}
    shown = " ".join(place.call("show", run_id).stdout.split())
    assert "✓ decide" in shown
    assert "approved by cli:anna: is ok" in shown
    assert "→ answer" not in shown, "it is told with the step that it settled"
    assert "→ signal arrived" in shown


def test_who_may_not_answer_is_refused_and_what_is_missing_is_told(asking: tuple[Place, str]):
    place, run_id = asking
    stranger = place.call("signal", run_id, "decide", "--approve", *FORM, "--as", "cli:carl")
    assert stranger.code == 2
    assert "is answered by cli:anna or cli:bob, not by cli:carl" in stranger.stderr
    bare = place.call("signal", run_id, "decide", "--approve", *ANNA)
    assert bare.code == 2
    assert "data refused: form.account: is missing. The run still waits." in bare.stderr
    wrong = place.call("signal", run_id, "decid", "--approve", *ANNA)
    assert wrong.code == 2
    assert f'{run_id} does not wait for "decid". It waits for: decide.' in wrong.stderr
    assert place.call("show", run_id, "--json").json["messages"] == []


def test_a_decision_is_no_signal_and_a_signal_no_decision(asking: tuple[Place, str]):
    place, run_id = asking
    taken_for_an_approval = place.call("signal", run_id, "arrived", "--approve")
    assert taken_for_an_approval.code == 2
    both = place.call("signal", run_id, "decide", "--approve", "--reject")
    whole = place.call("signal", run_id, "decide", "--data", "{}", "--approve")
    assert (both.code, whole.code) == (2, 2)
    assert place.call("show", run_id, "--json").json["messages"] == []


def test_without_a_terminal_nobody_is_asked(asking: tuple[Place, str]):
    place, run_id = asking
    told = place.call("signal", run_id, "decide", *ANNA)
    assert told.code == 2
    assert "say --approve or --reject" in told.stderr


def test_a_person_at_a_terminal_is_asked_for_each_field(asking: tuple[Place, str], monkeypatch: pytest.MonkeyPatch):
    place, run_id = asking
    monkeypatch.setattr("mcp_workflows.cli.answer.at_terminal", lambda: True)
    told = place.call("signal", run_id, "decide", *ANNA, stdin="y\n4711\n\nfine\n")
    assert told.code == 4, told.stderr
    (message,) = place.call("show", run_id, "--json").json["messages"]
    assert message["body"] == {
        "path": "decide",
        "generation": 1,
        "decision": "approved",
        "form": {"account": "4711", "fee": 0},
        "note": "fine",
        "via": "cli",
    }


ORDER = """\
name: order
description: Asks what to order.
steps:
  - id: what
    approval:
      message: What shall it be?
      form:
        required: [size]
        properties:
          size: {title: Size of the cup, oneOf: [{const: 1, title: Small}, {const: 2, title: Large}]}
          extras: {type: array, items: {enum: [milk, sugar]}}
          names: {type: array, items: {type: string}}
          ages: {type: array, items: {type: integer}}
          cups: {type: integer, minimum: 1, maximum: 9, default: 1}
          code: {type: string}
output: ${steps.what.output.form}
"""


def test_what_will_not_do_is_asked_again_and_choices_are_made_by_their_titles(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    place.define("order", ORDER)
    with place.server():
        run_id = place.call("run", "order", "--detach").stdout.strip()
        needing = (place.call("runs", "--status", "needs_input", "--json").json["runs"] for _ in range(100))
        assert next((runs for runs in needing if runs), None)
        monkeypatch.setattr("mcp_workflows.cli.answer.at_terminal", lambda: True)
        typed = ["y", "huge", "milk, sugar", "Ada, 4", "36, 4", "12", "007", "large", "", "", "", "3", "", ""]
        told = place.call("signal", run_id, "what", "--watch", stdin="\n".join(typed) + "\n")
    assert told.code == 0, told.stderr
    assert "form: size (Size of the cup, one of Small | Large, required)" in told.stderr
    assert "form: names (strings with commas between them)" in told.stderr
    assert "form: cups (integer, at least 1 and at most 9, default 1)" in told.stderr
    assert "form.cups: 12 is too large, expected at most 9." in told.stderr
    result = place.call("show", run_id, "--json").json["result"]
    assert result == {
        "size": 2, "extras": ["milk", "sugar"], "names": ["Ada", "4"], "ages": [36, 4], "cups": 3, "code": "007",
    }  # fmt: skip


def test_who_is_asked_and_does_not_want_to_decide_leaves_the_run_as_it_is(
    asking: tuple[Place, str], monkeypatch: pytest.MonkeyPatch
):
    place, run_id = asking
    monkeypatch.setattr("mcp_workflows.cli.answer.at_terminal", lambda: True)
    assert place.call("signal", run_id, "decide", *ANNA, stdin="").code == 130
    assert place.call("show", run_id, "--json").json["messages"] == []


def test_a_rejection_needs_no_form_and_says_who_said_no(asking: tuple[Place, str]):
    place, run_id = asking
    with place.server():
        told = place.call("signal", run_id, "decide", "--reject", "--note", "too much", *ANNA, "--watch")
    assert told.code == 3
    assert "cli:anna rejected it: too much" in told.stdout


def test_commands_that_are_told_find_the_same_database(asking: tuple[Place, str]):
    place, run_id = asking
    elsewhere = str(place.folder / ".mcp-workflows" / "runs.db")
    assert f"mcp-workflows signal {run_id} decide --database {elsewhere}" in (
        place.call("show", run_id, "--database", elsewhere).stdout
    )
    assert f"mcp-workflows signal {run_id} decide\n" in place.call("show", run_id).stdout
    assert "needs an answer: decide" in place.call("runs").stdout


def test_cancelling_what_has_ended_says_that_there_is_nothing_to_cancel(asking: tuple[Place, str]):
    place, run_id = asking
    with place.server():
        assert place.call("cancel", run_id, "--watch").code == 0
    late = place.call("cancel", run_id)
    assert late.code == 0
    assert "Nothing to cancel: it ended" in late.stderr


PAY = """\
name: pay
description: Asks before it pays.
input: {required: [to], properties: {to: {type: string}}}
steps:
  - id: agree
    approval: {message: "Pay 100 to ${input.to}?"}
output: ${steps.agree.output}
"""


def test_what_a_run_holds_steers_no_terminal_and_is_told_to_scripts_as_it_is(place: Place):
    place.define("pay", PAY)
    to = "bob\u001b[2K\u009b1A \u202e001"
    with place.server():
        run_id = place.call("run", "pay", "--detach", "-i", json.dumps({"to": to})).stdout.strip()
        needing = (place.call("runs", "--status", "needs_input", "--json").json["runs"] for _ in range(100))
        assert next((runs for runs in needing if runs), None)
        asked, shown = place.call("signal", run_id, "agree"), place.call("show", run_id)
    assert "Pay 100 to bob�[2K�1A �001?" in asked.stderr
    assert "Pay 100 to bob�[2K�1A �001? answer approval agree: " in shown.stdout
    told = place.call("show", run_id, "--json")
    assert told.json["input"] == {"to": to}
    for text in (asked.stderr, shown.stdout, told.stdout):
        assert not set(text) & set("\u001b\u009b\u202e")
