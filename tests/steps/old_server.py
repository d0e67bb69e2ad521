"""A stdio MCP server as they were written before ``server/discover``: by hand, over plain lines. For tests."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            info = {"name": "old", "version": "1"}
            return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            number = int(params.get("cursor") or 0)
            tool = {"name": f"tool{number}", "description": f"number {number}", "inputSchema": {"type": "object"}}
            return {"tools": [tool]} | ({"nextCursor": str(number + 1)} if number < 3 else {})
        case "tools/call" if params["name"] == "pid":
            return {"content": [{"type": "text", "text": str(os.getpid())}]}
        case "tools/call" if params["name"] == "garbage":
            return {"content": "none"}
        case "tools/call" if params["name"] == "chatters":
            print(f"no protocol: {params['arguments']}", flush=True)  # noqa: T201
            return {"content": [{"type": "text", "text": "done"}]}
        case "tools/call" if params["name"] == "broken":
            raise RuntimeError
        case "tools/call" if params["name"] == "vanish":
            os._exit(3)
        case _:
            raise KeyError(method)


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            reply["result"] = answer(message["method"], message.get("params") or {})
        except KeyError:
            reply["error"] = {"code": -32601, "message": "no such method or tool"}
        except RuntimeError:
            reply["error"] = {"code": -32603, "message": "it broke"}
        print(json.dumps(reply), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
