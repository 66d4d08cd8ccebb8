"""The version before this one, as docs/rollback.md names it, and its sources."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Release:
    """A version, the commit it is, and the format of its journal."""

    version: str
    revision: str
    format: int

    def unpack(self, folder: Path) -> Path:
        """Its sources in `folder`: by the tag, and by the commit in a clone that came without tags."""
        for name in (f"v{self.version}", self.revision):
            done = subprocess.run(["git", "archive", "-o", folder / "previous.tar", name], cwd=ROOT, check=False)
            if done.returncode == 0:
                break
        else:
            raise AssertionError(f"This clone has neither the tag v{self.version} nor the commit {self.revision}.")
        sources = folder / f"muster-{self.version}"
        sources.mkdir()
        subprocess.run(["tar", "-x", "-f", folder / "previous.tar", "-C", sources], check=True)
        return sources


def find_previous() -> Release:
    """The newest release of the table."""
    rows = re.findall(r"^\| (\d+\.\d+\.\d+) \| `([0-9a-f]{40})` \| (\d+) \|$", page(), re.MULTILINE)
    version, revision, format = rows[0]
    return Release(version, revision, int(format))


def page() -> str:
    return (ROOT / "docs" / "rollback.md").read_text()
