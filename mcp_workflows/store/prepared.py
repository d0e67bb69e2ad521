"""Statements as texts that a driver is handed itself: SQLAlchemy's execution layer costs more per row than the row does.

Many rows go into one statement, because a driver lets go of the interpreter at every statement it runs: a busy event
loop would otherwise get its turn after every single row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeAlias

from sqlalchemy import ClauseElement, Column, Dialect, bindparam
from sqlalchemy.sql.compiler import SQLCompiler

from mcp_workflows.store.rows import Values

CHUNKS = (64, 8, 1)
"""Rows of one insert statement; few sizes, so that the driver keeps them all prepared."""


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


class Inserts(Protocol):
    """One insert, of any number of rows."""

    width: int

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """Writes ``rows`` in order; answers with the number of rows that were really written."""
        ...


Fill: TypeAlias = Callable[[Any], Any]
"""Gives an insert its rows."""
Bulk: TypeAlias = Callable[[Callable[[Fill], ClauseElement], Sequence[Column[Any]], Dialect], Inserts]
"""Makes an insert of rows with the given columns from what says all but the rows."""


class RowInserts:
    """One insert in several sizes, each value a parameter."""

    def __init__(
        self, build: Callable[[Fill], ClauseElement], columns: Sequence[Column[Any]], dialect: Dialect
    ) -> None:
        names = [column.name for column in columns]
        self.width = len(names)
        self.by_rows = {size: Prepared(build(partial(_many, names, size)), dialect).sql for size in CHUNKS}

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """Writes ``rows`` in order; answers with the number of rows that were really written."""
        written = start = 0
        for size in CHUNKS:
            sql = self.by_rows[size]
            while len(rows) - start >= size:
                cursor.execute(sql, list(chain.from_iterable(rows[start : start + size])))
                written += cursor.rowcount
                start += size
        return written


@dataclass(frozen=True, slots=True)
class StepInserts:
    """Of rows with and without the columns that are seldom there. A column that is not named is null, and is written so."""

    short: Inserts
    long: Inserts

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """Writes ``rows``, each another step; answers with the number of rows that were really written."""
        short = [row for row in rows if len(row) == self.short.width]
        if len(short) == len(rows):
            return self.short.run(cursor, rows)
        long = [row for row in rows if len(row) == self.long.width]
        return self.short.run(cursor, short) + self.long.run(cursor, long)


def _many(columns: Sequence[str], rows: int, statement: Any) -> Any:
    return statement.values([{name: bindparam(f"row{row}_{name}") for name in columns} for row in range(rows)])
