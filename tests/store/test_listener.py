"""PostgreSQL's nodes tell one another of commits: also those that tell at the same moment hear one another."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from mcp_workflows.store import listener
from mcp_workflows.store.listener import CHANNEL, Listener
from mcp_workflows.store.postgres import connection_arguments
from tests.postgres import Databases

BOUND = 20.0


def test_what_comes_while_a_node_tells_others_is_heard_at_once(
    postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LOOK_SECONDS", 3600.0)  # nobody looks by chance
    arguments = connection_arguments(make_url(postgres.new_database(template=None)))
    heard = threading.Semaphore(0)
    with psycopg.connect(**arguments, autocommit=True) as other:

        class Crossing(psycopg.Connection[Any]):
            """What another node tells arrives while this one's own notice is on its way."""

            def execute(self, query: Any, *given: Any, **options: Any) -> psycopg.Cursor[Any]:
                if query == f"NOTIFY {CHANNEL}":
                    other.execute(query)
                return super().execute(query, *given, **options)

        node = Listener(lambda: Crossing.connect(**arguments, autocommit=True))
        node.start(heard.release)
        try:
            assert heard.acquire(timeout=BOUND), "it does not listen"
            for _ in range(3):
                node.tell()
                assert heard.acquire(timeout=BOUND), "what the other told was not heard"
        finally:
            node.close()
            node.join(BOUND)
