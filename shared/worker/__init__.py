"""Everything that the author of a worker imports."""

from shared.agent import Agent, Context, Reply
from shared.calls.noting import note
from shared.contracts import Missing, StepRequest, Usage
from shared.errors import StepFailure, WorkerFault
from shared.worker.app import create_worker_app
from shared.worker.main import serve_worker

__all__ = [
    "Agent",
    "Context",
    "Missing",
    "Reply",
    "StepFailure",
    "StepRequest",
    "Usage",
    "WorkerFault",
    "create_worker_app",
    "note",
    "serve_worker",
]
