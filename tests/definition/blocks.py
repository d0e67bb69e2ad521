"""A definition with every step that holds steps."""

from __future__ import annotations

from typing import Any

BLOCKS: dict[str, Any] = {
    "name": "blocks",
    "input": {"required": ["list"], "properties": {"list": {"type": "array", "items": {}}}},
    "steps": [
        {
            "id": "route",
            "switch": [
                {"when": "${run.version == 1}", "steps": [{"id": "a", "set": {"x": 1}}], "output": "${steps.a.output}"},
                {"else": [{"fail": "x"}]},
            ],
        },
        {
            "switch": {
                "value": "${run.id}",
                "cases": {"a b": [{"wait": "1s"}], "c": {"output": 1}},
                "else": {"output": 2},
            }
        },
        {
            "id": "checks",
            "parallel": {"left": [{"id": "b", "set": {"x": "${steps.route.output}"}}], "right": [{"wait": "1s"}]},
            "output": "${result.left}",
            "compensate": {"for_each": {"items": [1], "as": "x", "steps": [{"set": {"y": "${x} ${error.code}"}}]}},
        },
        {
            "id": "each",
            "for_each": {
                "items": "${input.list}",
                "as": "thing",
                "concurrency": 2,
                "steps": [{"id": "c", "set": {"x": "${thing} ${index}"}, "compensate": [{"set": {"z": "${thing}"}}]}],
                "output": "${steps.c.output.x}",
                "on_item_error": "collect",
            },
        },
        {
            "repeat": {
                "state": {"n": 0},
                "steps": [{"id": "d", "set": {"n": "${state.n + 1}"}}],
                "next": {"n": "${steps.d.output.n}"},
                "collect": "${state.n}",
                "until": "${state.n > 3}",
                "every": "1s",
                "max_iterations": 9,
            },
            "on_error": [{"when": '${error.code == "x"}', "output": 1}, {"else": [{"set": {"m": "${error.message}"}}]}],
        },
    ],
    "output": {"errors": "${steps.each.errors}", "checks": "${steps.checks.output}"},
}
"""Every kind of step that holds steps."""
