"""The JSON Schema that editors complete from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mcp_workflows.definition.loader import json_schema
from mcp_workflows.definition.text.document import read_document
from mcp_workflows.definition.text.nodes import to_json
from tests.definition.blocks import BLOCKS

SHIPPED = sorted(
    path
    for folder in ("definitions", "examples")
    for path in Path(folder).glob("*.yaml")
    if not path.name.endswith(".test.yaml")
)


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_it_takes_the_shipped_workflows(validator: Any, path: Path) -> None:
    value = to_json(read_document(path.read_text(encoding="utf-8"), path.name).root)
    assert [error.message for error in validator.iter_errors(value)] == []


SPOILT: list[dict[str, Any]] = [
    {"tiemout": "3s"},
    {"name": "A-b"},
    {"timeout": 90},
    {"timeout": "90"},
    {"steps": []},
    {"steps": [{}]},
    {"steps": [{"set": {}, "wait": "3s"}]},
    {"steps": [{"set": {}, "when": "input.x"}]},
    {"steps": [{"http": {"method": "get"}}]},
    {"steps": [{"set": {}, "on_error": "stop"}]},
    {"steps": [{"set": {}, "compensate": {"wait": "3s", "id": "x"}}]},
    {"steps": [{"set": {}, "retry": None}]},
    {"steps": [{"switch": []}]},
    {"steps": [{"switch": [{"when": "${true}", "stepz": []}]}]},
    {"steps": [{"switch": {"cases": {"a": [{"set": {}}]}}}]},
    {"steps": [{"parallel": {"a": [{"sett": {}}]}}]},
    {"steps": [{"for_each": {"items": [1], "steps": []}}]},
    {"steps": [{"for_each": {"items": [1], "steps": [{"set": {}}], "concurrency": 1001}}]},
    {"steps": [{"for_each": {"items": [1], "steps": [{"set": {}}], "as": "a-b"}}]},
    {"steps": [{"repeat": {"steps": [{"set": {}}], "until": "state.done"}}]},
    {"steps": [{"set": {}, "on_error": [{"else": [{"set": {}, "wait": "1s"}]}]}]},
    {"mcp": {"join": "of"}},
    {"secrets": ["a b"]},
    {"services": {"a": {"base_url": "x", "mcp": "y"}}},
    {"services": {"a": {"timeout": "3s"}}},
    {"steps": [{"signal": {"name": "a b"}}]},
    {"steps": [{"signal": {"name": "a", "on_timeout": "reject"}}]},
    {"steps": [{"signal": {"name": "a", "schema": 3}}]},
    {"steps": [{"approval": {"approvers": ["ada"]}}]},
    {"steps": [{"approval": {"message": "x", "approvers": []}}]},
    {"steps": [{"approval": {"message": "x", "by": "agent"}}]},
    {"steps": [{"python": {"args": {}}}]},
    {"steps": [{"python": {"call": "a.b"}}]},
    {"steps": [{"python": {"call": "a", "args": "x"}}]},
    {"steps": [{"mcp_tool": {"tool": "a"}}]},
    {"steps": [{"mcp_tool": {"service": "a", "list": False}}]},
    {"steps": [{"jq": {"filter": "."}}]},
    {"steps": [{"workflow": {"name": "A"}}]},
    {"steps": [{"workflow": {"name": "a", "detach": "yes"}}]},
    {"steps": [{"http": {"url": "x", "callback": False}}]},
    {"steps": [{"http": {"url": "x", "poll": {"url": "y"}}}]},
    {"steps": [{"http": {"url": "x", "poll": {"url": "y", "until": "done"}}}]},
    {"steps": [{"http": {"url": "x", "allowed_hosts": ["https://x"]}}]},
    {"steps": [{"http": {"url": "x", "response": "file"}}]},
]


@pytest.mark.parametrize("change", SPOILT, ids=str)
def test_it_refuses_what_the_loader_refuses_for_its_form(validator: Any, change: dict[str, Any]) -> None:
    good = {"name": "a", "steps": [{"set": {"a": 1}}]}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, **change})


TAKEN: list[dict[str, Any]] = [
    {"signal": {}},
    {"signal": {"name": "a", "schema": {"properties": {}}, "timeout": "3d", "on_timeout": "continue"}},
    {"approval": {"message": "x", "approvers": "${input.who}", "by": "anyone", "form": {}}},
    {"approval": {"message": "x", "approvers": ["ada"], "on_reject": "continue"}},
    {"python": {"call": "a", "args": "${input}"}},
    {"mcp_tool": {"service": "a", "list": True}},
    {"mcp_tool": {"service": "a", "tool": "b", "arguments": {"c": 1}}},
    {"jq": {"filter": ".", "input": None}},
    {"workflow": {"name": "a", "input": {"b": 1}, "detach": True}},
    {"http": {"url": "x", "callback": True}},
    {"http": {"url": "x", "callback": {"timeout": "3h"}}},
    {"http": {"url": "x", "poll": {"url": "y", "until": "${true}"}}},
    {"http": {"url": "x", "allowed_hosts": ["*.x.test:8443"], "blob": "${input.b}", "response": "blob"}},
    {"http": {"url": "x", "multipart": {"a": "b", "c": {"blob": "${input.b}"}}}},
]


@pytest.mark.parametrize("step", TAKEN, ids=str)
def test_it_takes_what_waits_calls_and_takes_long(validator: Any, step: dict[str, Any]) -> None:
    services = {"crm": {"base_url": "x"}, "tools": {"mcp": "y"}}
    found = validator.iter_errors({"name": "a", "services": services, "steps": [{"id": "b", **step}]})
    assert [error.message for error in found] == []


def test_it_takes_every_kind_of_step_that_holds_steps(validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(BLOCKS)] == []


def test_anchors_have_a_place(validator: Any) -> None:
    assert validator.is_valid({"name": "a", "steps": [{"set": {}}], "x-shared": {"anything": 1}})


def test_every_key_that_does_not_explain_itself_is_described() -> None:
    schema = json_schema()
    for name in ("Step", "Http", "Retry", "Workflow", "Arm", "Cases", "ForEach", "Repeat"):
        properties = schema["properties"] if name == "Workflow" else schema["$defs"][name]["properties"]
        described = [key for key, part in properties.items() if "description" in part]
        assert len(described) >= len(properties) * 0.6, (name, sorted(set(properties) - set(described)))
