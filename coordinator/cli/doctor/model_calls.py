"""Has a language model tried out for the doctor: by this process, or inside the container that would ask it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from coordinator.cli.doctor.docker import DockerFailed, RunDocker
from coordinator.cli.doctor.facts import Project, SeenModel, Unseen
from shared import logs
from shared.settings import ModelSettings, wrong

CHECKUP_SECONDS = 20.0
CONTAINER_SECONDS = 8.0  # docker has ten for a command
WHAT = "the model"


def look(project: Project | None, folder: Path, run: RunDocker) -> tuple[SeenModel | None, str, list[Unseen]]:
    """What was seen of the model, what its settings lack, and what could not be looked at."""
    from shared.models.choice import lacking

    try:
        settings = ModelSettings(_env_file=folder / ".env")
    except ValueError as exc:
        return None, "", [Unseen(what=WHAT, why=f"settings are wrong: {' '.join(wrong(exc))}")]
    if project is None:
        return _here(settings), lacking(settings), []
    asks = [c for c in project.containers if c.status == "running" and c.environ.get("MODEL_NAME")]
    if not asks:
        return None, lacking(settings), []
    command = ["exec", asks[0].name, "python", "-m", "shared.agent_loop.model_checkup", str(CONTAINER_SECONDS)]
    try:
        said = run(command).strip().splitlines()
        found = json.loads(said[-1]) if said else None
    except (DockerFailed, ValueError) as exc:
        return None, "", [Unseen(what=WHAT, why=f"it could not be tried out in {asks[0].name}: {exc}")]
    return SeenModel.of(found) if isinstance(found, dict) else None, "", []


def _here(settings: ModelSettings) -> SeenModel | None:
    from shared.models.choice import choose_model

    if choose_model(settings) is None:
        return None
    from shared.agent_loop.model_checkup import checkup

    with logs.quiet():
        seen = asyncio.run(checkup(settings, seconds=CHECKUP_SECONDS))
    return SeenModel.of(seen.model_dump()) if seen is not None else None
