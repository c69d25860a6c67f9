"""A server of tools that means harm, without any library: `python mcp_rough.py MODE`."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def flood(piece: str) -> None:
    while True:
        sys.stdout.write(piece)


def list_tools(mode: str, cursor: str | None) -> dict[str, Any]:
    number = int(cursor or 0)
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    tools: list[dict[str, Any]] = [{"name": f"tool{number}", "inputSchema": schema}]
    if mode == "lost":
        tools.append(
            {"name": "lost", "inputSchema": schema | {"$ref": "https://example.com/schema"}}
        )
    if mode == "endless" or (mode == "pages" and number < 3):
        return {"tools": tools, "nextCursor": str(number + 1)}
    return {"tools": tools}


def call(mode: str) -> dict[str, Any] | None:
    match mode:
        case "line":
            flood("x" * 65_536)
        case "notes":
            flood('{"jsonrpc": "2.0", "method": "notifications/message", "params": {}}\n')
        case "noise":
            flood("this is no JSON\n")
        case "deaf":
            time.sleep(30)
        case "orphans":
            subprocess.Popen(["sleep", "60"])
            os._exit(1)
        case "dies":
            os._exit(1)
        case "wrong":
            return {"content": "not a list"}
        case _:
            pass
    return {"content": [{"type": "text", "text": f"{mode} {os.getpid()}"}]}


def main(mode: str) -> None:
    if mode == "refuses":
        sys.stderr.write(f"no module named {os.environ.get('OWN_TOKEN')}\n")
        sys.exit(4)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleeper = subprocess.Popen(["sleep", "60"])
        sys.stderr.write(f"{sleeper.pid}\n")
    for line in sys.stdin:
        message = json.loads(line)
        number, method = message.get("id"), message["method"]
        if mode == "mute" or number is None:
            continue
        if method == "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": mode, "version": "1"}
            result = {"protocolVersion": version, "capabilities": {}, "serverInfo": info}
            say({"id": number, "result": result})
        elif method == "tools/list":
            say({"id": number, "result": list_tools(mode, message.get("params", {}).get("cursor"))})
        elif method == "tools/call":
            say({"id": number, "result": call(mode)})
        else:
            say({"id": number, "error": {"code": -32601, "message": "unknown"}})
    if mode == "stubborn":
        time.sleep(60)


main(sys.argv[1])
