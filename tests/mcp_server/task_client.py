"""The tasks extension as a client of the official SDK: what it sends, and what it makes of what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Literal

from mcp import Client, ClientSession
from mcp.client.extension import ClaimContext, ClientExtension, NotificationBinding, ResultClaim
from mcp_types import (
    CallToolResult,
    NotificationParams,
    Request,
    RequestParams,
    Result,
    SubscriptionFilter,
    SubscriptionsListenRequest,
    SubscriptionsListenRequestParams,
)
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from mcp_workflows.mcp_server.tasks import EXTENSION


class Anything(Result):
    """An answer with all that came."""

    model_config = ConfigDict(extra="allow")


async def ask(session: ClientSession, request: Request[Any, Any]) -> dict[str, Any]:
    return (await session.send_request(request, Anything)).model_dump(by_alias=True)


class CreateTaskResult(Result):
    """The seed of a task, with all that came along."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True)

    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class Params(RequestParams):
    task_id: str


class Update(Params):
    input_responses: dict[str, Any]


class Get(Request[Params, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: Params
    name_param: ClassVar[str | None] = "taskId"


class Cancel(Request[Params, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: Params
    name_param: ClassVar[str | None] = "taskId"


class UpdateTask(Request[Update, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"
    params: Update
    name_param: ClassVar[str | None] = "taskId"


class Told(NotificationParams):
    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True)

    task_id: str
    status: str


class TasksExtension(ClientExtension):
    """Declares the extension, and keeps what is told unasked."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=CreateTaskResult, resolve=self._resolve)]

    def notifications(self) -> Sequence[NotificationBinding[Any]]:
        return [NotificationBinding(method="notifications/tasks", params_type=Told, handler=self._hear)]

    async def _hear(self, params: Told) -> None:
        self.told.put_nowait(params.model_dump(by_alias=True))

    async def _resolve(self, created: CreateTaskResult, ctx: ClaimContext) -> CallToolResult:
        """As an agent's client does: the person behind it is asked, the model only sees the end."""
        answered: set[str] = set()
        while True:
            task = await ask(ctx.session, Get(params=Params(task_id=created.task_id)))
            if "result" in task:
                return CallToolResult.model_validate(task["result"])
            assert task["status"] in ("working", "input_required"), task
            for key, request in task.get("inputRequests", {}).items():
                if key not in answered:
                    answered.add(key)
                    content = self.answer(request["params"]["message"], request["params"]["requestedSchema"])
                    responses = {key: {"action": "accept", "content": content}}
                    update = Update(task_id=created.task_id, input_responses=responses)
                    await ask(ctx.session, UpdateTask(params=update))
            await asyncio.sleep(0.02)

    def answer(self, message: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What the person fills in."""
        raise AssertionError((message, schema))


class TaskClient:
    """A client with the extension, asking for tasks step by step."""

    def __init__(self, client: Client, extension: TasksExtension) -> None:
        self.client = client
        self.told = extension.told

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a workflow's tool answers with: the seed of a task."""
        created = await self.client.session.call_tool(tool, arguments, allow_claimed=True)
        assert isinstance(created, CreateTaskResult), created
        return created.model_dump(by_alias=True, exclude={"meta"})

    async def get(self, task_id: str) -> dict[str, Any]:
        told = await ask(self.client.session, Get(params=Params(task_id=task_id)))
        assert told.pop("resultType") == "complete"
        told.pop("_meta", None)
        return told

    async def update(self, task_id: str, **answers: Any) -> None:
        """Answers by key, each the content of a form that was accepted, or else the whole answer."""
        responses = {
            key: answer if "action" in answer else {"action": "accept", "content": answer}
            for key, answer in answers.items()
        }
        request = UpdateTask(params=Update(task_id=task_id, input_responses=responses))
        acknowledged(await ask(self.client.session, request))

    async def cancel(self, task_id: str) -> None:
        acknowledged(await ask(self.client.session, Cancel(params=Params(task_id=task_id))))

    async def until(self, task_id: str, *statuses: str) -> dict[str, Any]:
        """The task once it has one of these statuses."""
        async with asyncio.timeout(30):
            while (task := await self.get(task_id))["status"] not in statuses:  # noqa: ASYNC110 (this is polling)
                await asyncio.sleep(0.02)
        return task

    async def listen(self, *task_ids: str) -> None:
        """Until the stream ends."""
        wanted = SubscriptionFilter.model_validate({"taskIds": list(task_ids)})
        request = SubscriptionsListenRequest(params=SubscriptionsListenRequestParams(notifications=wanted))
        await ask(self.client.session, request)

    @asynccontextmanager
    async def listening(self, *task_ids: str) -> AsyncGenerator[None]:
        """What is told of these tasks goes into ``told`` meanwhile."""
        listening = asyncio.create_task(self.listen(*task_ids))
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def hears(self, status: str) -> dict[str, Any]:
        """What is told once the task has this status."""
        async with asyncio.timeout(30):
            while (told := await self.told.get())["status"] != status:
                pass
        told.pop("_meta", None)
        return told


def acknowledged(result: Mapping[str, Any]) -> None:
    """Nothing is said but that it was taken."""
    assert {key: value for key, value in result.items() if key != "_meta"} == {"resultType": "complete"}
