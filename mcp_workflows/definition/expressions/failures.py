"""The two ways an expression goes wrong: refused while it is loaded, or failed while it is evaluated."""

from __future__ import annotations


class ExpressionInvalid(Exception):
    """An expression or a text is refused at load.

    ``offset`` counts characters in the text that was given to ``compile_…``; ``start`` is where in that text the
    expression itself begins, so that a loader can find the place again in a file where the text is quoted or folded.
    """

    code = "expr"

    def __init__(self, message: str, offset: int = 0, start: int = 0, *, unknown: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.start = start
        self.unknown = unknown
        """The name that nothing has here, if that is what is wrong."""


class ExpressionFailed(Exception):
    """An expression gives no value with what it was given. Trying again does not help."""

    code = "expression"
    """Of the step that fails by it."""

    def __init__(self, message: str, source: str) -> None:
        super().__init__(f"{message}, in ${{{source}}}" if source else message)
        self.message = message
        self.source = source
