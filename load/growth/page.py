"""The page of growth and its charts."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from load.drawing.lines import Series, draw
from load.growth.line import Growth

Y = "CPU a task, ms"


def write(folder: Path, found: Sequence[Growth]) -> None:
    """GROWTH.md, and growth-KEY.svg for each; a chart that was not measured now stays as it was."""
    for growth in found:
        (folder / f"growth-{growth.key}.svg").write_text(draw_chart(growth), encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("GROWTH.md.j2").render(
        made=f"{datetime.now(UTC):%Y-%m-%d}",
        found=found,
        python=platform.python_version(),
        cores=os.cpu_count(),
        load=os.getloadavg()[0],
    )
    (folder / "GROWTH.md").write_text(page, encoding="utf-8")


def draw_chart(growth: Growth) -> str:
    series = [Series(line.name, line.points) for line in growth.lines]
    return draw(growth.title, series, x=growth.x, y=Y)
