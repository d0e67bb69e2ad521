"""Mermaid itself reads what is drawn, and shows every text as its author wrote it."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mcp_workflows.definition.loader import load_paths, load_text
from mcp_workflows.definition.program import Definition
from mcp_workflows.diagram import flowchart
from tests.definition.loading import HEAD
from tests.docs.place import blocks, page
from tests.misuse import definitions as misused

ROOT = Path(__file__).parents[2]
NODE = ROOT / "node_modules" / ".bin" / "node"

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(
        not NODE.exists() or not (ROOT / "node_modules" / "mermaid").exists(),
        reason="NOT RUN: Mermaid is not installed; `make node` installs it",
    ),
]

NASTY = (
    'say "hi"', "a; b", "#quot; #35;", "1. first", "- item", "`**bold**`", "<b>x</b> & y", "%%{init: {}}%%", "end", "x --> y",
    "a|b", "[x](y)", "{{z}}", "été 日本 🎉", "back\\slash\\n", "subgraph s1", "click s1 href", "a@{ shape: circle }", "…",
)  # fmt: skip


def read(*diagrams: str) -> list[dict[str, Any]]:
    """What Mermaid makes of them. Node finds Mermaid beside the script, so that stands in the repository's folder."""
    script = Path(__file__).with_name("mermaid.mjs")
    done = subprocess.run(
        [NODE, script], input=json.dumps(diagrams), capture_output=True, text=True, timeout=100, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def shown(text: str) -> str:
    """As a reader sees it: Mermaid writes ``ﬂ°°35¶ß`` for ``#35;`` until it draws."""
    entity = re.sub(r"ﬂ°(°?)(\w+)¶ß", lambda found: f"&{'#' if found[1] else ''}{found[2]};", text)
    return html.unescape(entity)


def all_definitions() -> dict[str, Definition]:
    """Of this repository: those it ships, those of its documentation, and those that ask too much."""
    found = dict(load_paths([ROOT / "definitions", ROOT / "examples"]).definitions)
    texts = [text for text in blocks(page("docs/language.md"), "yaml") if text.startswith("name:")]
    texts += [text for text in vars(misused).values() if isinstance(text, str) and text.lstrip().startswith("name:")]
    for text in texts:
        one = load_text(text, "a.yaml")
        found[f"{one.name} {len(found)}"] = one
    return found


def test_mermaid_reads_the_diagram_of_every_definition_here() -> None:
    definitions = all_definitions()
    assert len(definitions) > 20
    for name, found in zip(definitions, read(*map(flowchart, definitions.values())), strict=True):
        assert "error" not in found, f"{name}: {found['error']}"
        assert found["type"] == "flowchart-v2"
        known = {*found["nodes"], *found["frames"]}
        assert all(start in known and end in known for start, end, *_ in found["arrows"])


def test_any_text_is_shown_as_it_is_and_none_is_taken_for_mermaid() -> None:
    definitions = [
        load_text(f"{HEAD}steps:\n  - id: x\n    title: {json.dumps(text)}\n    wait: 1s\n", "a.yaml") for text in NASTY
    ]
    for text, found in zip(NASTY, read(*map(flowchart, definitions)), strict=True):
        assert "error" not in found, f"{text}: {found['error']}"
        assert [shown(node) for node in found["nodes"].values()] == ["a", f"x: {text}<br>waits 1s", "completed"]


def test_what_an_arrow_says_is_shown_as_it_is() -> None:
    source = f"{HEAD}steps:\n  - id: x\n    switch:\n      value: ${{input.y}}\n      cases:\n"
    source = source.replace("steps:", "input: {required: [y], properties: {y: {type: string}}}\nsteps:")
    source += "".join(f"        {json.dumps(text, ensure_ascii=False)}: [{{wait: 1s}}]\n" for text in NASTY)
    (found,) = read(flowchart(load_text(source, "a.yaml")))
    said = [shown(text) for _, _, text, _ in found["arrows"] if text]
    assert sorted(said) == sorted([*NASTY, "else"])


def test_frames_hold_what_stands_in_them_and_failures_go_by_dotted_arrows() -> None:
    source = f"""{HEAD}
input: {{required: [names], properties: {{names: {{type: array, items: {{type: string}}}}}}}}
steps:
  - id: each
    for_each:
      items: ${{input.names}}
      steps:
        - id: call
          http: {{method: POST, url: "http://127.0.0.1:1/x"}}
          compensate:
            http: {{method: DELETE, url: "http://127.0.0.1:1/x"}}
          on_error:
            - when: ${{error.code == "http_404"}}
              steps: [{{id: told, wait: 1s}}]
"""
    (found,) = read(flowchart(load_text(source, "a.yaml")))
    texts = {node: shown(text).partition("<br>")[0] for node, text in found["nodes"].items()}
    (frame,) = found["frames"].values()
    assert shown(frame["title"]) == "each<br>for each of input.names"
    assert {texts[node] for node in frame["nodes"]} == {"call", "told", "DELETE http://127.0.0.1:1/x"}
    dotted = {
        (texts[start], texts[end], shown(text)) for start, end, text, stroke in found["arrows"] if stroke == "dotted"
    }
    assert dotted == {
        ("call", "told", 'fails, error.code == "http_404"'),
        ("call", "DELETE http://127.0.0.1:1/x", "undone by"),
    }
