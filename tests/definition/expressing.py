"""Expressions in tests: every name of the language may be used, and ``values`` are given by root."""

from __future__ import annotations

from typing import Any

from mcp_workflows.definition.expressions import (
    ROOTS,
    RUN,
    Expression,
    ExpressionFailed,
    ExpressionInvalid,
    Template,
    Variables,
    compile_expression,
    compile_text,
)

ALL = Variables(ROOTS | RUN | {"item"})


def compiled(source: str) -> Expression:
    return compile_expression(source, ALL)


def evaluate(source: str, input: Any = None, **roots: Any) -> Any:  # noqa: A002 - the language's word
    return compiled(source).evaluate({"input": input, **roots})


def failure(source: str, input: Any = None, **roots: Any) -> str:  # noqa: A002 - the language's word
    """The message of the failure that evaluating must end with."""
    expression = compiled(source)
    try:
        value = expression.evaluate({"input": input, **roots})
    except ExpressionFailed as failed:
        return failed.message
    raise AssertionError(f"{source} gave {value!r}")


def refusal(source: str) -> tuple[int, str]:
    """The offset and the message with which the expression must be refused."""
    try:
        compiled(source)
    except ExpressionInvalid as invalid:
        return invalid.offset, invalid.message
    raise AssertionError(f"{source} was not refused")


def template(text: str) -> Template:
    return compile_text(text, ALL)
