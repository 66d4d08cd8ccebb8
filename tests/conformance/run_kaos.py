"""Runs KAOS's own end-to-end tests (a checkout at KAOS_DIR) against our agents: all of them pass.

`KAOS_DIR=/path/to/kaos python -m tests.conformance.run_kaos`; KAOS_PYTHON is an interpreter with pytest,
pytest-asyncio, httpx, PyYAML and sh (unset: this one). Left out are the tests of KAOS's model proxy, which is no agent.
Exits with 0 where there is no checkout, and says so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance import kaos_kubectl
from tests.conformance.kaos_cluster import running

FILES = ("agentic_loop", "base_func", "mcp_tools", "multi_agent")
TESTS = 15  # in these files, at KAOS's commit of 2026-01-31


def main() -> int:
    folder = Path(os.environ.get("KAOS_DIR", "")) / "operator" / "tests"
    if not os.environ.get("KAOS_DIR") or not (folder / "e2e" / "conftest.py").is_file():
        print("SKIPPED: KAOS's tests (KAOS_DIR names no checkout of it)")
        return 0
    with tempfile.TemporaryDirectory() as commands, running() as cluster:
        for name in ("kubectl", "helm"):
            command = Path(commands) / name
            command.write_text(f'#!/bin/sh\nexec {sys.executable} {kaos_kubectl.__file__} "$@"\n', encoding="utf-8")
            command.chmod(0o755)
        environment = os.environ | {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "GATEWAY_URL": cluster.url,
            "KAOS_CLUSTER_URL": cluster.url,
            "OPERATOR_MANAGED_EXTERNALLY": "1",
        }
        files = [f"e2e/test_{name}_e2e.py" for name in FILES]
        python = os.environ.get("KAOS_PYTHON", sys.executable)
        kit = [python, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", *files]
        done = subprocess.run(
            kit, check=False, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    print(done.stdout)
    counts = {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", done.stdout)}
    well = counts == {"passed": TESTS}
    print(f"{'PASSED' if well else 'FAILED'}: KAOS, {counts}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
