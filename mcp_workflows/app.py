"""The composition root: from settings to a node that moves runs and the facade that every surface uses.

The parts know nothing of settings or of one another's making; here, and only here, they are put together and taken
apart in the right order.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from mcp_workflows.access.claims import Reading
from mcp_workflows.access.fetching import Server
from mcp_workflows.access.introspection import Introspection
from mcp_workflows.access.jwt_tokens import JwtTokens
from mcp_workflows.access.keys import Keys
from mcp_workflows.access.token_file import TokenFile
from mcp_workflows.access.verifying import AnyOf, Verifier
from mcp_workflows.clock import Clock, utc_now
from mcp_workflows.errors import SettingsInvalid
from mcp_workflows.runtime.abilities import Abilities, Limits
from mcp_workflows.runtime.callbacks import Callbacks
from mcp_workflows.runtime.catalog import Catalog
from mcp_workflows.runtime.node import Node
from mcp_workflows.runtime.retention import Retention
from mcp_workflows.runtime.runs import Runs
from mcp_workflows.runtime.standby import Standby
from mcp_workflows.settings import Settings
from mcp_workflows.steps import Environment, Steps, find_functions, load_servers
from mcp_workflows.steps.callback import CallbackTokens
from mcp_workflows.store import NodeReport, NodeRow, Store

logger = logging.getLogger(__name__)


class Role(StrEnum):
    """What this process is to the runs in the database."""

    SERVER = "server"
    """Serves definitions and watches their files; moves as many runs as it may."""
    RUNNER = "runner"
    """Knows the definitions as they are now, and moves the run that it starts."""
    STARTER = "starter"
    """Knows the definitions as they are now, starts runs and leaves them to others."""
    OBSERVER = "observer"
    """Looks, and leaves messages for those who move runs; reads no definitions and moves nothing."""


COLLECTED_AFTER = (50_000, 10, 10)
"""Objects made and not yet gone, and how many collections of the younger until the next older ones are looked through.

What hundreds of runs have in flight together is more than 10,000 objects: all of it would be looked through for nothing.
"""

_MOVING = frozenset({Role.SERVER, Role.RUNNER})


@dataclass(frozen=True, slots=True)
class App:
    """What a surface needs. ``runs`` is the way to everything that concerns runs."""

    settings: Settings
    runs: Runs
    catalog: Catalog
    store: Store
    node: Node
    retention: Retention
    role: Role

    async def servers(self) -> list[NodeRow]:
        """The other processes that are up and move runs of this database."""
        await self.store.take_over()
        return [node for node in await self.store.nodes() if node.ended_at is None and _is_a(node, Role.SERVER)]

    async def _is_first_server(self) -> bool:
        """Of the servers that are up one is the first, whoever asks."""
        up = [node.node_id for node in await self.store.nodes() if node.ended_at is None and _is_a(node, Role.SERVER)]
        return min(up, default=None) == self.store.node_id

    @asynccontextmanager
    async def moving(self) -> AsyncGenerator[None]:
        """Runs are moved while the block runs; then attempts in flight get about a second, and runs are handed over."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_beside(self.node.run()))
            if self.role is Role.SERVER:
                await stack.enter_async_context(_beside(self.catalog.watch()))
                if self.settings.retention is not None:
                    keep = timedelta(seconds=self.settings.retention)
                    await stack.enter_async_context(_beside(self.retention.keep_at(keep, self._is_first_server)))
            stack.push_async_callback(self.node.leave)
            yield


@asynccontextmanager
async def open_app(
    settings: Settings, *, role: Role = Role.SERVER, served_at: str | None = None, clock: Clock = utc_now
) -> AsyncGenerator[App]:
    """Everything put together and moving, until the block ends. ``served_at``: where this process can be called, if at all.

    Raises SettingsInvalid or StoreUnavailable where the database cannot be used.
    """
    async with built_app(settings, role=role, served_at=served_at, clock=clock) as app, app.moving():
        yield app


@asynccontextmanager
async def built_app(
    settings: Settings, *, role: Role, served_at: str | None = None, clock: Clock = utc_now
) -> AsyncGenerator[App]:
    """Everything put together, at rest: what a run needs that is to be started before others are claimed."""
    file = settings.database_file
    if role is Role.OBSERVER and file is not None and not file.exists():
        raise SettingsInvalid(_no_database(settings))
    limits = _limits(settings, role)
    report = NodeReport(role, limits.runs, limits.attempts, limits.attempts_per_host)
    address = None if served_at is None else settings.public_url or served_at
    opened = Store.open(
        settings.database,
        clock=clock,
        node_name=_node_name(role),
        lease_seconds=settings.lease_seconds,
        report=report,
    )
    async with opened as store, AsyncExitStack() as stack:
        secret = await store.secret_key() if role in _MOVING else None
        tokens = CallbackTokens(secret) if secret is not None else None
        environment = replace(
            _environment(settings, moves=role in _MOVING),
            blobs=store,
            callback_base=settings.public_url or served_at,
            callback_tokens=tokens,
        )
        steps = Steps(environment, clock=clock)
        stack.push_async_callback(steps.close)
        catalog = Catalog(settings.definitions, store)
        if role is not Role.OBSERVER:
            await catalog.load()
        node = Node(
            store,
            catalog,
            steps,
            clock=clock,
            # Where it can be called it says once it tends to runs, which others then leave to it.
            abilities=_abilities(replace(report, served_at=address), environment, steps, moves=role in _MOVING),
            limits=limits,
            max_output_bytes=settings.max_answer_bytes,
            standby=Standby(store) if role is Role.SERVER and served_at is None else None,
        )
        stack.push_async_callback(_leave, node)
        callbacks = tokens and Callbacks(catalog, store, node, clock, tokens=tokens, secrets_of=environment.secrets_of)
        runs = Runs(catalog, store, node, clock, callbacks, settings.max_queued_runs, secret)
        yield App(settings, runs, catalog, store, node, Retention(store, clock), role)


def verifier_of(settings: Settings, resource: str, clock: Clock = utc_now) -> Verifier | None:
    """Who reads the tokens of requests to ``resource``; ``None``: nobody needs one. Raises ``SettingsInvalid``."""
    verifiers: list[Verifier] = []
    reading = Reading(
        settings.auth_audience or resource,
        settings.auth_issuer,
        settings.auth_actor_claim,
        settings.auth_default_scopes,
    )
    if settings.tokens is not None:
        verifiers.append(TokenFile(settings.tokens))
    if settings.auth_issuer is not None and (settings.auth_jwks_url or settings.auth_introspection_url is None):
        steady = asyncio.get_running_loop().time
        keys = Keys(Server(), settings.auth_issuer, settings.auth_jwks_url, steady)
        verifiers.append(JwtTokens(keys, reading, clock))
    if settings.auth_introspection_url is not None:
        secret = settings.auth_client_secret
        credentials = None if secret is None else (settings.auth_client_id or "", secret.get_secret_value())
        verifiers.append(Introspection(Server(), settings.auth_introspection_url, credentials, reading, clock))
    return AnyOf(verifiers) if verifiers else None


def spare_collector() -> None:
    """Once, in a process that only serves, when everything is loaded: what is there stays, so it is not to be looked through.

    Python's cycle collector would go through the modules, schemas and definitions again and again, for a fifth of the processor
    time of a busy server. The few cycles that runs leave behind are found all the same, somewhat later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)


async def _leave(node: Node) -> None:
    if not node.leaving:
        await node.leave()


def _limits(settings: Settings, role: Role) -> Limits:
    runs = {Role.SERVER: settings.max_runs, Role.RUNNER: 1}.get(role, 0)
    return Limits(runs, settings.max_attempts, settings.max_attempts_per_host)


def _abilities(report: NodeReport, environment: Environment, steps: Steps, *, moves: bool) -> Abilities:
    """Who moves no runs lacks nothing that moving them would need."""
    return Abilities(
        report,
        vars_of=lambda definition: environment.vars_over(definition.vars),
        lacks_secrets=lambda definition: environment.missing(definition.secrets),
        lacks=steps.lacks if moves else lambda _: (),
        lacks_address=steps.lacks_address if moves else lambda _: None,
        lacks_address_to_undo=steps.lacks_address_to_undo,
    )


def _environment(settings: Settings, *, moves: bool) -> Environment:
    """Only who moves runs imports the modules with functions, and knows of servers to start."""
    return Environment(
        vars=settings.vars,
        secret=settings.secret,
        http_allowed_hosts=settings.http_allowed_hosts,
        max_answer_bytes=settings.max_answer_bytes,
        max_blob_bytes=settings.max_blob_bytes,
        max_per_host=settings.max_attempts_per_host,
        functions=find_functions(settings.functions) if moves else {},
        mcp_servers=load_servers(settings.mcp_servers) if moves else {},
        max_function_threads=settings.max_function_threads,
    )


def _no_database(settings: Settings) -> str:
    looked = f"No runs yet: there is no database at {settings.database_place}."
    if settings.database_url is not None:
        return (
            f"{looked} Check --database or MCP_WORKFLOWS_DATABASE_URL; a server or `run` makes it at its first start."
        )
    return (
        f"{looked} It is looked for beside the definitions, {settings.definitions[0]}: "
        "give the same --definitions (or --database) as the server that had the run."
    )


def _node_name(role: Role) -> str:
    return f"{role.value} {os.getpid()} on {socket.gethostname()}"


def moves_runs(node: NodeRow) -> bool:
    """It is, or was, a process that moves runs, and not one that only looks."""
    return _is_a(node, *_MOVING)


def _is_a(node: NodeRow, *roles: Role) -> bool:
    return node.report is not None and node.report.role in roles


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Runs ``work`` beside the block. Should it fail, the block is cancelled: it would go on without its ground."""
    block = asyncio.current_task()
    task = asyncio.create_task(work)

    def failed(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and done.exception() is not None and block is not None:
            block.cancel()

    task.add_done_callback(failed)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
