"""A batch of nothing but steps, as PostgreSQL is given it: one statement, which is a transaction of its own.

Most batches are. As a transaction of several statements one takes four round trips, and at the end of each the writer waits
for its turn of the interpreter too: beside a busy event loop that is longer than the server needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import BigInteger, ColumnClause, ColumnElement, Dialect, Text, literal_column, text
from sqlalchemy.types import TypeEngine

from mcp_workflows.store import wording
from mcp_workflows.store.batch import Refused
from mcp_workflows.store.bulk import Build
from mcp_workflows.store.columns import Arrays, in_columns
from mcp_workflows.store.prepared import Cursor, Prepared
from mcp_workflows.store.rows import Values

_STATEMENT = """
WITH fence AS ({fence} RETURNING 1), written AS ({insert} RETURNING 1)
SELECT held, 1 / (NOT held OR (SELECT count(*) FROM written) = {count})::int
FROM (SELECT EXISTS (SELECT FROM fence)) AS fence_held (held)
"""
"""What the division says is that a row was not taken: no other expression fails, and with it all that is written."""


class OneTrip:
    """Steps whose rows have the ``columns``, inserted as ``build`` says. Where the fence does not hold, none is."""

    def __init__(self, build: Build, columns: Sequence[ColumnClause[Any]], dialect: Dialect) -> None:
        self._columns = columns
        places = iter(range(len(columns) + 1, len(columns) + 6))

        def parameter(kind: TypeEngine[Any]) -> ColumnElement[Any]:
            return literal_column(f"CAST(${next(places)} AS {kind.compile(dialect)})", kind)

        fence = wording.beat(parameter(Text()), *(parameter(BigInteger()) for _ in range(3)))
        insert = build(Arrays(columns, dialect, only_if=text("EXISTS (SELECT FROM fence)")))
        count = parameter(BigInteger())
        self._sql = _STATEMENT.format(
            fence=Prepared(fence, dialect).sql, insert=Prepared(insert, dialect).sql, count=count
        )

    def takes(self, rows: Sequence[Values]) -> bool:
        """Whether these can be inserted like this: none twice, and each as wide as it should be."""
        width = len(self._columns)
        return all(len(row) == width for row in rows) and len({row[:3] for row in rows}) == len(rows)

    def run(self, cursor: Cursor, rows: Sequence[Values], *, me: str, last_beat: int, beat: int, now: int) -> bool:
        """Whether the fence held; then all is committed. ``Refused``: some row was not taken, and nothing is written."""
        try:
            cursor.execute(self._sql, [*in_columns(self._columns, rows), me, last_beat, beat, now, len(rows)])
        except psycopg.errors.DivisionByZero as error:
            raise Refused("a settled step would be written over") from error
        [(held, _)] = cursor.fetchall()
        return held
