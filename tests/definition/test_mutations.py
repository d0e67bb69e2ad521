"""Whatever is wrong with a file, the loader answers: a definition, or problems with places. Never anything else."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_workflows.definition.loader import load_text
from mcp_workflows.definition.text.document import read_document
from mcp_workflows.definition.text.nodes import to_json
from mcp_workflows.errors import DefinitionInvalid
from tests.definition.blocks import BLOCKS

SHIPPED = [
    to_json(read_document(path.read_text(encoding="utf-8"), path.name).root)
    for folder in ("definitions", "examples")
    for path in sorted(Path(folder).glob("*.yaml"))
    if not path.name.endswith(".test.yaml")
]
WORDS = st.sampled_from(
    [
        "id",
        "http",
        "set",
        "wait",
        "return",
        "fail",
        "when",
        "compensate",
        "retry",
        "for",
        "steps",
        "services",
        "json",
        "path",
        "url",
        "method",
        "success",
        "output",
        "on_error",
        "continue",
        "switch",
        "parallel",
        "for_each",
        "repeat",
        "else",
        "cases",
        "items",
        "as",
        "state",
        "until",
        "${item}",
        "${state.a}",
        "POST",
        "${input.x}",
        "${steps.a.output}",
        "${",
        "${}",
        "${error}",
        "${secrets.X}",
        "3s",
        "90",
        "2xx",
        "$ref",
        "oneOf",
        "type",
        "enum",
        "null",
        "signal",
        "approval",
        "python",
        "mcp_tool",
        "jq",
        "workflow",
        "name",
        "schema",
        "form",
        "message",
        "approvers",
        "call",
        "args",
        "arguments",
        "list",
        "filter",
        "input",
        "poll",
        "until",
        "callback",
        "multipart",
        "blob",
        "allowed_hosts",
        "mcp",
        "$ENV",
        "${callback_url}",
        "${result}",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 700) | st.floats(-2, 2) | WORDS | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, part in cast("dict[str, Any]", value).items():
            found += places(part, (*path, key))
    elif isinstance(value, list):
        for index, part in enumerate(cast("list[Any]", value)):
            found += places(part, (*path, index))
    return found


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_that_was_spoilt_somewhere_is_answered_with_places(data: st.DataObject) -> None:
    definition: Any = copy.deepcopy(data.draw(st.sampled_from([*SHIPPED, BLOCKS])))
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(places(definition)[1:]))
        holder = definition
        for part in path[:-1]:
            holder = holder[part]
        match data.draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                holder[path[-1]] = data.draw(VALUES)
            case "remove":
                del holder[path[-1]]
            case _ if isinstance(holder, dict):
                holder[data.draw(WORDS)] = data.draw(VALUES)
            case _:
                holder.insert(0, data.draw(VALUES))
        if not definition:
            return
    text = json.dumps(definition, indent=1)
    try:
        loaded = load_text(text, "a.yaml")
    except DefinitionInvalid as invalid:
        lines = text.split("\n")
        for problem in invalid.problems:
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
            assert problem.message
    else:
        assert load_text(loaded.content, "again").digest == loaded.digest
