"""Statements of many rows, each text made once and executed for any number of rows.

A driver lets go of the interpreter at every statement it runs: a busy event loop would otherwise get its turn after every
single row. And what a database does once a statement costs as much as several rows do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeAlias

from sqlalchemy import ClauseElement, ColumnClause, Dialect, FromClause, bindparam
from sqlalchemy import values as values_of

from mcp_workflows.store.prepared import Cursor, Prepared
from mcp_workflows.store.rows import Values

SIZES = (64, 32, 16, 8, 4, 2, 1)
"""Rows of one statement in which each value is a parameter; few sizes, as the driver keeps them all prepared."""


class Given(Protocol):
    """The rows, as a statement is to name them while it is built."""

    def into(self, insert: Any) -> ClauseElement:
        """``insert``, of these rows."""
        ...

    def table(self) -> FromClause:
        """They themselves, to be selected from."""
        ...


Build: TypeAlias = Callable[[Given], ClauseElement]
"""Makes a statement of the rows it is given. What it says besides has no parameters."""


class Many(Protocol):
    """One statement, of any number of rows of ``width`` values each."""

    width: int

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """For ``rows`` in order; answers with the number of rows that were really written."""
        ...

    def returned(self, cursor: Cursor, rows: Sequence[Values]) -> list[Any]:
        """For ``rows``; answers with what the statement gives back, in no particular order."""
        ...


Bulk: TypeAlias = Callable[[Build, Sequence[ColumnClause[Any]], Dialect], Many]
"""Makes one for rows of these columns. Those of an insert stand in the order in which they stand in their table."""


class Whole(Protocol):
    """A transaction as one statement: the fence, and rows."""

    def takes(self, rows: Sequence[Values]) -> bool:
        """Whether ``rows`` can be written like this."""
        ...

    def run(self, cursor: Cursor, rows: Sequence[Values], *, me: str, last_beat: int, beat: int, now: int) -> bool:
        """Whether the fence held; then all is committed, and else nothing. ``Refused``: nothing either."""
        ...


WholeBulk: TypeAlias = Callable[[Build, Sequence[ColumnClause[Any]], Dialect], Whole]
"""Makes one of an insert of rows of these columns."""


@dataclass(frozen=True, slots=True)
class _Parameters:
    """``size`` rows, each value a parameter."""

    columns: Sequence[ColumnClause[Any]]
    size: int

    def into(self, insert: Any) -> ClauseElement:
        rows: list[dict[str, Any]] = [
            {column.name: bindparam(f"row{row}_{column.name}") for column in self.columns} for row in range(self.size)
        ]
        return insert.values(rows)

    def table(self) -> FromClause:
        rows = [
            tuple(bindparam(f"row{row}_{column.name}", type_=column.type) for column in self.columns)
            for row in range(self.size)
        ]
        return values_of(*self.columns, name="given").data(rows).cte("given")


class InRows:
    """In several sizes, each value a parameter. A text is made when it is first wanted: most never are."""

    def __init__(self, build: Build, columns: Sequence[ColumnClause[Any]], dialect: Dialect) -> None:
        self.width = len(columns)
        self._build = build
        self._columns = columns
        self._dialect = dialect
        self._by_size: dict[int, str] = {}

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        return sum(cursor.rowcount for _ in self._executed(cursor, rows))

    def returned(self, cursor: Cursor, rows: Sequence[Values]) -> list[Any]:
        return [row for _ in self._executed(cursor, rows) for row in cursor.fetchall()]

    def _executed(self, cursor: Cursor, rows: Sequence[Values]) -> Iterator[None]:
        start = 0
        for size in SIZES:
            while len(rows) - start >= size:
                cursor.execute(self._sql(size), list(chain.from_iterable(rows[start : start + size])))
                start += size
                yield

    def _sql(self, size: int) -> str:
        sql = self._by_size.get(size)
        if sql is None:
            sql = self._by_size[size] = Prepared(self._build(_Parameters(self._columns, size)), self._dialect).sql
        return sql


@dataclass(frozen=True, slots=True)
class ShortOrLong:
    """For rows with and without the columns that are seldom there. What is not there is null, and is written so."""

    short: Many
    long: Many

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        return sum(many.run(cursor, some) for many, some in self._parts(rows))

    def returned(self, cursor: Cursor, rows: Sequence[Values]) -> list[Any]:
        return [row for many, some in self._parts(rows) for row in many.returned(cursor, some)]

    def _parts(self, rows: Sequence[Values]) -> Iterator[tuple[Many, Sequence[Values]]]:
        short = [row for row in rows if len(row) == self.short.width]
        yield self.short, short
        if len(short) < len(rows):
            yield self.long, [row for row in rows if len(row) == self.long.width]
