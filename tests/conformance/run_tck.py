"""Runs the A2A TCK (branch 1.0-dev, at A2A_TCK_DIR) against our façade: no failure, at most 89 skips.

`A2A_TCK_DIR=/path/to/a2a-tck python -m tests.conformance.run_tck`; A2A_TCK_PYTHON is the interpreter that the kit is
installed in (unset: `.venv/bin/python` in its folder, else this one). Exits with 0 where there is no kit, and says so.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from load.processes.ports import free_port

MAX_SKIPPED = 89
START_SECONDS = 30.0


def main() -> int:
    folder = Path(os.environ.get("A2A_TCK_DIR", ""))
    if not os.environ.get("A2A_TCK_DIR") or not (folder / "run_tck.py").is_file():
        print("SKIPPED: A2A TCK (A2A_TCK_DIR names no folder with run_tck.py)")
        return 0
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    agent = subprocess.Popen([sys.executable, "-m", "tests.conformance.tck_agent", "--port", str(port)])
    try:
        _wait_for(f"{url}/health", agent)
        kit = [str(_python(folder)), "run_tck.py", "--sut-host", url, "--transport", "jsonrpc,http_json"]
        done = subprocess.run(kit, check=False, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        agent.terminate()
        agent.wait()
    print(done.stdout)
    counts = {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", done.stdout)}
    wrong = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
    well = wrong == 0 and counts.get("passed", 0) > 0 and counts.get("skipped", 0) <= MAX_SKIPPED
    print(f"{'PASSED' if well else 'FAILED'}: A2A TCK, {counts}")
    return 0 if well else 1


def _python(folder: Path) -> Path:
    own = folder / ".venv" / "bin" / "python"
    return Path(os.environ.get("A2A_TCK_PYTHON") or (own if own.exists() else sys.executable))


def _wait_for(url: str, agent: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and agent.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise SystemExit("The test agent did not start.")


if __name__ == "__main__":
    sys.exit(main())
