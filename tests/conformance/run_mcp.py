"""`python -m tests.conformance.run_mcp`: MCP's own conformance kit against a coordinator, both live revisions.

The kit and its Node are installed with npm into build/mcp-conformance; without npm, or without a network to install
from, it says that it is skipped. The exit code is 0 when nothing failed but what the baselines beside this file name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.fakes import ROOT
from tests.support.processes import Coordinator

KIT = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
NODE = "node@22"  # the kit needs it
REVISIONS = ("2025-11-25", "2026-07-28")
HERE = Path(__file__).parent
FOLDER = ROOT / "build" / "mcp-conformance"
INSTALL_SECONDS, RUN_SECONDS = 300, 180


def installed() -> list[str] | None:
    """The kit's command; None where it cannot be had, after saying why."""
    node = FOLDER / "node_modules" / ".bin" / "node"
    kit = FOLDER / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    if not (node.exists() and kit.exists()):
        npm = shutil.which("npm")
        if npm is None:
            print("MCP conformance: skipped, there is no npm")
            return None
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "package.json").write_text('{"private": true}\n')
        command = [npm, "install", "--no-fund", "--no-audit", "--loglevel=error", KIT, NODE]
        ran = subprocess.run(command, cwd=FOLDER, timeout=INSTALL_SECONDS, check=False)
        if ran.returncode or not kit.exists():
            print(f"MCP conformance: skipped, npm could not install {KIT}")
            return None
    return [str(node), str(kit)]


def main() -> int:
    """Runs the kit; its own exit code, 0 when it is skipped."""
    kit = installed()
    if kit is None:
        return 0
    worst = 0
    with (
        tempfile.TemporaryDirectory(prefix="muster-mcp-") as folder,
        Coordinator(Path(folder), warm=False) as coordinator,
    ):
        coordinator.start().ready()
        for revision in REVISIONS:
            command = [*kit, "server", "--url", f"{coordinator.url}/mcp", "--requirements", revision]
            command += ["--expected-failures", str(HERE / f"mcp_baseline.{revision}.yml"), "-o", f"{folder}/{revision}"]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
            total = re.search(r"Total: (.+)", ran.stdout)
            print(f"MCP conformance {revision}: exit {ran.returncode}; checks: {total.group(1) if total else 'none'}")
            if ran.returncode:
                print(ran.stdout.partition("=== SUMMARY ===")[2] or ran.stdout, ran.stderr, flush=True)
            worst = max(worst, ran.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
