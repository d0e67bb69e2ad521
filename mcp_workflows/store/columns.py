"""How PostgreSQL is given the rows of a statement: column by column, each an array, so that one parameter does for a column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, ColumnClause, Dialect, FromClause, Text, TextClause, column, select, text

from mcp_workflows.store.bulk import Build
from mcp_workflows.store.prepared import Cursor, Prepared
from mcp_workflows.store.rows import Values


@dataclass(frozen=True, slots=True)
class Arrays:
    """Any number of rows, each column a parameter; none at all where ``only_if`` does not hold."""

    columns: Sequence[ColumnClause[Any]]
    dialect: Dialect
    only_if: TextClause | None = None

    def into(self, insert: Any) -> ClauseElement:
        return insert.from_select([column.name for column in self.columns], self._rows())

    def table(self) -> FromClause:
        return self._rows().subquery("given")

    def _rows(self) -> Any:
        types = [column.type.compile(self.dialect).partition(" ")[0] for column in self.columns]
        arrays = ", ".join(f"CAST(${place} AS {kind}[])" for place, kind in enumerate(types, 1))
        names = ", ".join(column.name for column in self.columns)
        rows = select(*(column(each.name, each.type) for each in self.columns))
        rows = rows.select_from(text(f"unnest({arrays}) AS rows ({names})"))
        return rows if self.only_if is None else rows.where(self.only_if)


class InColumns:
    """Of any number of rows it is the same statement, and stays prepared."""

    def __init__(self, build: Build, columns: Sequence[ColumnClause[Any]], dialect: Dialect) -> None:
        self.width = len(columns)
        self._columns = columns
        self._sql = Prepared(build(Arrays(columns, dialect)), dialect).sql

    def run(self, cursor: Cursor, rows: Sequence[Values]) -> int:
        """For ``rows`` in order; answers with the number of rows that were really written."""
        return cursor.rowcount if self._execute(cursor, rows) else 0

    def returned(self, cursor: Cursor, rows: Sequence[Values]) -> list[Any]:
        """For ``rows``; answers with what the statement gives back, in no particular order."""
        return cursor.fetchall() if self._execute(cursor, rows) else []

    def _execute(self, cursor: Cursor, rows: Sequence[Values]) -> bool:
        if not rows:
            return False
        cursor.execute(self._sql, in_columns(self._columns, rows))
        return True


def in_columns(columns: Sequence[ColumnClause[Any]], rows: Sequence[Values]) -> list[str]:
    """``rows``, of which there is one at least, as ``Arrays`` has them."""
    return [
        _texts(values) if isinstance(column.type, Text) else _plain(values)
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
    ]


def _plain(values: Iterable[Any]) -> str:
    """An array of numbers or truth values, as PostgreSQL reads it."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _texts(values: Iterable[str | None]) -> str:
    """An array of texts, as PostgreSQL reads it."""
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    ]
    return "{" + ",".join(quoted) + "}"
