"""A fourth worker: counts the words of what it is given. Run it with `python fourth_worker.py --port 8004`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from shared.worker import Agent, Context, Reply, StepRequest, WorkerFault, serve_worker


async def run(step: StepRequest, ctx: Context) -> Reply:
    """`step.input` is what the plan says, `step.upstream` holds the outputs of the steps this one needs."""
    text = " ".join(str(part) for part in [step.input or "", *step.upstream.values()])
    if not text.strip():
        raise WorkerFault("There is nothing to count.", type="bad_input")
    await ctx.progress(f"Counting {len(text)} characters")
    common = Counter(text.lower().split()).most_common(3)
    return Reply({"words": len(text.split()), "common": [word for word, _ in common]})


def agent(state_dir: Path) -> Agent:
    """The worker as a value; it keeps nothing in `state_dir`."""
    return Agent(name="counter", description="Counts words.", capabilities=("count",), run=run)


if __name__ == "__main__":
    serve_worker(agent)
