"""What expressions cost: ``python -m benchmarks.expressions`` prints microseconds per rendering and per compilation."""

from __future__ import annotations

from datetime import UTC, datetime
from timeit import repeat
from typing import Any

from mcp_workflows.definition.expressions import ROOTS, RUN, Template, Variables, compile_text

ALL = Variables(ROOTS | RUN)
LINES = [{"sku": f"s{n}", "sum": n} for n in range(100)]
VALUES: dict[str, Any] = {
    "input": {"email": "a@b", "plan": "pro", "count": 3, "lines": LINES, "unread": [{"k": "v" * 50}] * 15_000},
    "steps.a": {"status": "completed", "output": {"id": 7, "next": "c2", "unread": [{"k": "v" * 50}] * 15_000}},
    "run.now": datetime(2026, 11, 22, 10, tzinfo=UTC),
}
"""The parts that nothing reads are about a mebibyte each."""

TEXTS = [
    "${steps.a.output.id}",
    "${input.?note}",
    '${input.plan == "pro"}',
    '${input.plan == "pro" && has(input.note)}',
    "${input.count * 1.5 > 4}",
    "Hello ${input.email}!",
    '${get(steps.a.output, "next", null)}',
    "${run.now + days(3)}",
    '${input.lines.map(l, get(l, "sum", 0)).sum()}',
    "${input.lines.filter(l, l.sum > 50).map(l, l.sku)}",
    '${ {"email": input.email, "lines": input.lines.size()} }',
]


def microseconds(call: Any, number: int) -> float:
    """The best of five, so that a busy machine says little."""
    return min(repeat(call, number=number, repeat=5)) / number * 1e6


def main() -> None:
    print(f"{'text':<58} {'render':>9} {'compile':>9}")
    for text in TEXTS:
        template: Template = compile_text(text, ALL)
        rendered = microseconds(lambda template=template: template.render_optional(VALUES), 1_000)
        compiled = microseconds(lambda text=text: compile_text(text, ALL), 50)
        print(f"{text:<58} {rendered:7.1f} µs {compiled:6.0f} µs")


if __name__ == "__main__":
    main()
