"""Where workers written before version 0.2 import Agent, Context and Reply from; see `shared.worker`."""

from shared.agent import Agent, Context, Reply

__all__ = ["Agent", "Context", "Reply"]
