"""Tools as Python text (`MCP_TOOLS_STRING`, as KAOS's image has them) behind an MCP server, on loopback."""

from __future__ import annotations

import argparse
import inspect
import os
from typing import Any

import uvicorn
from mcp.server import MCPServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    found: dict[str, Any] = {}
    exec(os.environ["MCP_TOOLS_STRING"], found)
    server = MCPServer("tools")
    for function in filter(inspect.isfunction, found.values()):
        server.tool()(function)
    uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
