"""Where workers written before version 0.2 import `serve_worker` from; see `shared.worker`."""

from shared.worker.main import serve_worker

__all__ = ["serve_worker"]
