"""The threads that read, each on a connection of its own; every read sees one state of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from mcp_workflows.errors import StoreUnavailable
from mcp_workflows.store.database import Database
from mcp_workflows.store.trouble import READING, Trouble

T = TypeVar("T")

THREADS = 4


class Reads:
    """One pool of threads, each with a connection."""

    def __init__(self, database: Database, trouble: Trouble) -> None:
        self._trouble = trouble
        self._database = database
        self._engine: Engine = database.engine(THREADS)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mcp-workflows-reads")

    async def __call__(self, query: Callable[..., T], /, *arguments: Any) -> T:
        """``query(connection, *arguments)`` in a thread. ``StoreUnavailable``: the database cannot be read."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, query, arguments)

    def close(self) -> None:
        """Under the write lock: the last connection that is closed checkpoints."""
        self._threads.shutdown(wait=True)
        self._engine.dispose()

    def _read(self, query: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        try:
            try:
                found = self._query(query, arguments)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                found = self._query(query, arguments)  # the server had closed the connection; a new one may do
        except DBAPIError as error:
            said = self._database.explain(error.orig or error)
            self._trouble.begin(READING, said)
            raise StoreUnavailable(said) from error
        self._trouble.end(READING)
        return found

    def _query(self, query: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        with self._engine.begin() as connection:
            return query(connection, *arguments)
