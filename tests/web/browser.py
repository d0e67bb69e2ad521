"""A real browser, driven as the W3C's WebDriver says: Debian's Chromium, without a window."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, cast

import httpx2
import pytest

from tests.mortal import mortal

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
TAB, ENTER, SPACE = "\ue004", "\ue007", "\ue00d"


class Browser:
    """One window. Elements are found by CSS selectors."""

    def __init__(self, client: httpx2.AsyncClient, session: str) -> None:
        self._client = client
        self._session = session

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        arguments: dict[str, Any] = {"json": body} if method == "POST" else {}
        answer = await self._client.request(method, f"/session/{self._session}{path}", **arguments)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    async def open(self, url: str) -> None:
        await self.ask("POST", "/url", url=url)

    async def find(self, selector: str) -> str:
        found = await self.ask("POST", "/element", using="css selector", value=selector)
        return cast("str", found[_ELEMENT])

    async def all(self, selector: str) -> list[str]:
        found = await self.ask("POST", "/elements", using="css selector", value=selector)
        return [one[_ELEMENT] for one in found]

    async def click(self, selector: str) -> None:
        await self.ask("POST", f"/element/{await self.find(selector)}/click")

    async def type(self, selector: str, text: str) -> None:
        await self.ask("POST", f"/element/{await self.find(selector)}/value", text=text)

    async def press(self, *keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        await self.ask("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    async def text(self, selector: str = "body") -> str:
        return await self.ask("GET", f"/element/{await self.find(selector)}/text")

    async def focused(self) -> tuple[str, str]:
        """Role and name of what has the focus, as a screen reader says them."""
        return await self.named((await self.ask("GET", "/element/active"))[_ELEMENT])

    async def named(self, element: str) -> tuple[str, str]:
        role = await self.ask("GET", f"/element/{element}/computedrole")
        return role, await self.ask("GET", f"/element/{element}/computedlabel")

    async def run(self, script: str) -> Any:
        return await self.ask("POST", "/execute/sync", script=script, args=[])

    async def resize(self, width: int, height: int) -> None:
        await self.ask("POST", "/window/rect", width=width, height=height)

    async def picture(self, path: Path) -> None:
        picture = base64.b64decode(await self.ask("GET", "/screenshot"))
        await asyncio.to_thread(path.write_bytes, picture)


@asynccontextmanager
async def browser(folder: Path) -> AsyncGenerator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("NO BROWSER: install Debian's chromium and chromium-driver to look at the page in one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = await asyncio.create_subprocess_exec(
        *mortal(DRIVER, f"--port={port}", by="TERM"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert driver.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"started successfully" not in await driver.stdout.readline():
                pass
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=90) as client:
            flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server",
                     "--disable-background-networking", "--disable-component-update"]  # fmt: skip
            flags.append(f"--user-data-dir={folder / 'chromium'}")
            wanted = {"browserName": "chrome", "goog:chromeOptions": {"binary": CHROMIUM, "args": flags}}
            answer = (await client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})).json()["value"]
            assert "sessionId" in answer, answer
            made = Browser(client, answer["sessionId"])
            await made.ask("POST", "/timeouts", implicit=20_000)  # what is looked for may be on the page to come
            try:
                yield made
            finally:
                await made.ask("DELETE", "")
    finally:
        with suppress(ProcessLookupError):
            driver.terminate()
        await driver.wait()
