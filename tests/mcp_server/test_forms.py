"""Forms that clients can show, made of what an author asks for, and what comes back as the author meant it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import ElicitResult
from mcp_types._v2025_11_25 import ElicitRequestFormParams as Old  # what a client of that version takes
from mcp_types._v2026_07_28 import ElicitRequestFormParams as New
from mcp_types.methods import validate_client_result

from mcp_workflows.asking.waiting import Waiting, answer_schema
from mcp_workflows.definition.input_schema import published
from mcp_workflows.engine.outcome import StepError
from mcp_workflows.engine.states import RunStatus
from mcp_workflows.errors import InputRefused
from mcp_workflows.mcp_server.people.forms import answered, decided, question, standstill
from tests.mcp_server.views import RUN_ID, refused_booking, view

WAITING = view(RunStatus.WAITING)


def approval(**properties: Any) -> Waiting:
    required = [name for name in properties if name.startswith("must")]
    day = {"type": "string", "format": "date", "title": "Day"}
    form = published({"properties": properties, "required": required, "$defs": {"day": day}})
    return Waiting("approval", "agree", "agree", "person", "Agreed?", answer_schema(form))


def asked(wait: Waiting) -> dict[str, Any]:
    """The schema, which clients of both eras must be able to show."""
    given = question(WAITING, wait)
    for model in (Old, New):
        model.model_validate({"message": given.message, "mode": "form", "requestedSchema": given.schema})
    return given.schema


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "string", "minLength": 2, "pattern": "^a"}, {"type": "string", "minLength": 2}),
        ({"type": "string", "format": "email"}, {"type": "string", "format": "email"}),
        ({"type": "string", "format": "uuid", "default": "x"}, {"type": "string", "default": "x"}),
        ({"type": "integer", "minimum": 1, "multipleOf": 2}, {"type": "integer", "minimum": 1}),
        ({"type": "number", "default": 0.5, "title": "Share"}, {"type": "number", "default": 0.5, "title": "Share"}),
        ({"type": "integer", "default": True}, {"type": "integer"}),
        ({"type": "boolean", "default": False}, {"type": "boolean", "default": False}),
        ({"type": "boolean", "default": 0}, {"type": "boolean"}),
        ({"type": "string", "enum": ["a", "b"], "title": "T"}, {"type": "string", "enum": ["a", "b"], "title": "T"}),
        (
            {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 1},
            {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 1},
        ),
        (
            {"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b"}], "default": "b"},
            {"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "b"}], "default": "b"},
        ),
        (
            {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}},
            {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}},
        ),
        ({"type": "string", "oneOf": [{"const": "a"}, {"pattern": "^b"}]}, {"type": "string"}),
        ({"$ref": "#/$defs/day", "title": "On"}, {"type": "string", "format": "date", "title": "On"}),
        ({"$ref": "#/$defs/day"}, {"type": "string", "format": "date", "title": "Day"}),
        ({"$ref": "#/$defs/gone"}, {"type": "string", "description": "JSON: {}"}),
        (
            {"type": "integer", "oneOf": [{"const": 1, "title": "One"}], "default": 1},
            {"type": "string", "oneOf": [{"const": "1", "title": "One"}], "default": "1"},
        ),
        (
            {"enum": ["1", 1], "default": 1},
            {"type": "string", "oneOf": [{"const": '"1"', "title": "1"}, {"const": "1", "title": "1"}], "default": "1"},
        ),
    ],
)
def test_what_forms_can_show_is_shown_and_the_rest_is_left_to_the_check(schema: Any, shown: Any) -> None:
    assert asked(approval(field=schema))["properties"]["field"] == shown


@pytest.mark.parametrize(
    ("schema", "typed", "meant"),
    [
        ({"type": "array", "items": {"type": ["string", "null"]}}, '["a"]', ["a"]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1}', {"a": 1}),
        ({"const": 7}, "7", 7),
        ({}, "no JSON", "no JSON"),
        ({"type": "array"}, "[" * 100_000, "[" * 100_000),
        ({"type": "array"}, '["\\ud800"]', '["\\ud800"]'),
        ({"type": ["string", "null"]}, "null", None),
    ],
)
def test_what_no_form_can_show_is_asked_for_as_json(schema: Any, typed: str, meant: Any) -> None:
    wait = approval(field=schema)
    shown = asked(wait)["properties"]["field"]
    assert shown["type"] == "string"
    assert shown["description"].startswith("JSON: {")
    answer = answered(wait, {"decision": "approved", "field": typed})
    assert answer == {"decision": "approved", **({} if meant is None else {"form": {"field": meant}})}


@pytest.mark.parametrize(
    ("items", "typed", "meant"),
    [
        ("string", "a, b c,", ["a", "b c"]),
        ("string", "7", ["7"]),
        ("string", "a, b\nc", ["a, b", "c"]),
        ("string", '["a, b", "c"]', ["a, b", "c"]),
        ("string", "[a]", "[a]"),
        ("string", ["a"], ["a"]),
        ("integer", "1, 2", [1, 2]),
        ("number", "1.5\nmuch", [1.5, "much"]),
        ("integer", " ", None),
    ],
)
def test_a_list_is_written_down_one_after_the_other_or_as_json(items: str, typed: Any, meant: Any) -> None:
    wait = approval(must={"type": "array", "items": {"type": items}, "description": "Which ones."})
    description = "Which ones. Several, with commas between them or each on its line; or a JSON list."
    assert asked(wait)["properties"]["must"] == {"type": "string", "description": description}
    answer = answered(wait, {"decision": "approved", "must": typed})
    assert answer == {"decision": "approved", **({} if meant is None else {"form": {"must": meant}})}


@pytest.mark.parametrize(
    ("schema", "chosen", "meant"),
    [
        ({"type": "integer", "enum": [1, 2]}, "2", 2),
        ({"type": "integer", "enum": [1, 2]}, 2, 2),
        ({"enum": ["1", 1]}, '"1"', "1"),
        ({"enum": ["1", 1]}, "1", 1),
        ({"enum": ["a", "b"]}, "c", "c"),
        ({"type": "array", "items": {"anyOf": [{"const": 1, "title": "One"}]}}, ["1"], [1]),
        ({"type": "array", "items": {"anyOf": [{"const": 1, "title": "One"}]}}, "[1]", [1]),
    ],
)
def test_a_choice_of_anything_is_made_among_texts_and_read_as_what_it_stands_for(
    schema: Any, chosen: Any, meant: Any
) -> None:
    wait = approval(field=schema)
    assert "JSON" not in str(asked(wait)["properties"]["field"])
    assert answered(wait, {"decision": "approved", "field": chosen})["form"] == {"field": meant}


def test_names_that_the_answer_has_itself_make_way() -> None:
    wait = approval(decision={"type": "string"}, note={"type": "string"}, form_note={"type": "string"})
    schema = asked(wait)
    assert list(schema["properties"]) == ["decision", "form_decision", "form_note", "form_form_note", "note"]
    filled = {"decision": "approved", "form_decision": "a", "form_note": "b", "form_form_note": "c", "note": "d"}
    assert answered(wait, filled) == {
        "decision": "approved", "note": "d", "form": {"decision": "a", "note": "b", "form_note": "c"},
    }  # fmt: skip


def test_what_is_left_empty_is_left_out_unless_it_must_be_there() -> None:
    wait = approval(must={"type": "string"}, may={"type": "string"}, list={"type": "array", "items": {}})
    assert asked(wait)["required"] == ["decision", "must"]
    empty = {"decision": "rejected", "must": "", "may": " ", "list": "", "note": "", "unknown": 1}
    assert answered(wait, empty) == {"decision": "rejected", "form": {"must": ""}}
    assert answered(wait, {}) == {}


def test_a_signal_without_a_schema_takes_any_object() -> None:
    wait = Waiting("signal", "go", "go", "anyone")
    assert list(asked(wait)["properties"]) == ["data"]
    assert answered(wait, {}) == {}
    assert answered(wait, {"data": '{"a": 1}'}) == {"a": 1}


def test_a_refused_answer_is_asked_again_with_the_reason_before_the_question() -> None:
    given = question(WAITING, approval(), "data refused: decision: is missing.")
    assert given.message.split("\n\n") == [
        "data refused: decision: is missing.", "Agreed?", f"saga_order_fulfillment, {RUN_ID}",
    ]  # fmt: skip


def test_a_long_question_is_cut() -> None:
    wait = Waiting("approval", "agree", "agree", "person", "x" * 100_000, answer_schema(None))
    assert len(question(WAITING, wait).message) < 2200


@pytest.mark.parametrize(
    ("fields", "ways", "corrections"),
    [
        ({"error": refused_booking()}, ["resume", "output", "cancel"], ["input", "request", "output"]),
        (
            {"error": refused_booking(), "skippable": True},
            ["resume", "output", "skip", "cancel"],
            ["input", "request", "output"],
        ),
        (
            {"error": StepError("cut_off", "cut off", step="pay"), "once_in_doubt": True, "skippable": True},
            ["again", "output", "skip", "cancel"],
            ["output"],
        ),
        ({"error": StepError("recoveries", "three servers died")}, ["resume", "cancel"], ["input"]),
        ({}, ["resume", "cancel"], ["input"]),
    ],
)
def test_a_run_that_stands_still_offers_what_its_error_allows(fields: Any, ways: Any, corrections: Any) -> None:
    asked = standstill(view(RunStatus.PAUSED, **fields))
    New.model_validate({"message": asked.message, "mode": "form", "requestedSchema": asked.schema})
    properties = asked.schema["properties"]
    assert [way["const"] for way in properties["choice"]["oneOf"]] == ways
    assert list(properties) == ["choice", *corrections, "reason"]
    assert properties.get("request", {}).get("title", "Request") == "Request"
    assert RUN_ID in asked.message


def test_whoever_may_cancel_a_run_is_told_what_is_undone_and_what_stays() -> None:
    paused = view(RunStatus.PAUSED, error=refused_booking(), would_undo=("charge", "reserve"), stays=("mail",))
    way = standstill(paused).schema["properties"]["choice"]["oneOf"][-1]
    assert way == {"const": "cancel", "title": "Cancel the run and undo charge and reserve; what mail did stays"}


@pytest.mark.parametrize(
    ("content", "correction"),
    [
        ({"choice": "resume"}, {}),
        ({"choice": "resume", "input": "", "request": None, "output": "1"}, {}),
        ({"choice": "resume", "input": '{"a": 1}'}, {"input": {"a": 1}}),
        ({"choice": "resume", "request": '{"query": {}}'}, {"request": {"query": {}}}),
        ({"choice": "output", "output": "null", "input": '{"a": 1}'}, {"output": None}),
        ({"choice": "skip"}, {"skip": True}),
        ({"choice": "again"}, {"again": True}),
    ],
)
def test_the_choice_says_which_of_the_corrections_count(content: Any, correction: Any) -> None:
    said = decided({**content, "reason": "so"})
    assert (said.action, said.correction, said.reason) == ("resume", correction, "so")


@pytest.mark.parametrize(
    "content",
    [
        {"choice": "resume", "reason": 7},
        {"choice": "resume", "input": "[" * 100 + "]" * 100},
        {"choice": "output", "output": "1e400"},
        {"choice": "output", "output": str(1 << 63)},
    ],
)
def test_what_no_run_could_hold_is_refused(content: Any) -> None:
    with pytest.raises(InputRefused, match=r"data refused: .* The run still stands still\."):
        decided(content)


@pytest.mark.parametrize(
    "content", [{}, {"choice": None}, {"choice": "Resume"}, {"choice": ["skip"]}, {"choice": "output"}]
)
def test_a_form_that_says_nothing_decides_nothing(content: Any) -> None:
    with pytest.raises(InputRefused, match="The run still stands still"):
        decided(content)


def test_cancelling_takes_no_corrections() -> None:
    said = decided({"choice": "cancel", "input": '{"a": 1}'})
    assert (said.action, said.correction, said.reason) == ("cancel", {}, None)


def test_what_clients_may_send_is_what_is_read() -> None:
    result = ElicitResult(action="accept", content={"decision": "approved", "must": 1.0, "may": None, "list": ["a"]})
    for version in ("2025-06-18", "2025-11-25"):
        validate_client_result("elicitation/create", version, result.model_dump(by_alias=True, mode="json"))
    assert answered(approval(list={"type": "array", "items": {"type": "string", "enum": ["a"]}}), result.content or {}) == {
        "decision": "approved", "form": {"list": ["a"]},
    }  # fmt: skip


WORDS = st.sampled_from(
    ["type", "enum", "items", "default", "minLength", "maximum", "format", "title", "const", "$ref", "anyOf", "oneOf"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "email", "date"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
CONTENT = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.text(max_size=3))


@given(
    schemas=st.dictionaries(st.sampled_from(["decision", "note", "a"]), st.dictionaries(WORDS, VALUES) | VALUES),
    content=st.dictionaries(st.sampled_from(["decision", "note", "a", "b", "form_note", "form_decision"]), CONTENT),
)  # fmt: skip
def test_whatever_an_author_asks_for_has_a_form_and_whatever_comes_back_can_be_read(schemas: Any, content: Any) -> None:
    wait = Waiting("approval", "agree", "agree", "person", "Agreed?", answer_schema({"properties": schemas}))
    properties = asked(wait)["properties"]
    assert len(properties) == len(schemas) + 2
    answer = answered(wait, content)
    assert set(answer) <= {"decision", "note", "form"}
    assert set(answer.get("form", {})) <= set(schemas)
