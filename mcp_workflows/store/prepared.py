"""Statements as texts that a driver is handed itself: SQLAlchemy's execution layer costs more per row than the row does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from sqlalchemy import ClauseElement, Dialect
from sqlalchemy.sql.compiler import SQLCompiler


class Cursor(Protocol):
    """What the drivers' cursors have in common."""

    @property
    def rowcount(self) -> int: ...
    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Prepared:
    """A statement as text, and the names of its parameters in the order in which the driver wants them."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def run(self, cursor: Cursor, **values: Any) -> int:
        """Executes, and answers with the number of rows changed. The caller may fetch from ``cursor`` afterwards."""
        cursor.execute(self.sql, self.parameters(values))
        return cursor.rowcount

    def parameters(self, values: Mapping[str, Any]) -> list[Any]:
        """In the order in which the driver wants them."""
        fixed = self._fixed
        return [fixed[name] if name in fixed else values[name] for name in self._names]


Each: TypeAlias = Callable[["Cursor", "Prepared", Sequence[Mapping[str, Any]]], list[Any]]
"""Executes a statement for each of many, in order; answers with all the rows that came back."""


def one_by_one(cursor: Cursor, statement: Prepared, many: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Where the database is in this process: nothing is gained by handing it several at once."""
    found: list[Any] = []
    for values in many:
        cursor.execute(statement.sql, statement.parameters(values))
        found += cursor.fetchall()
    return found
