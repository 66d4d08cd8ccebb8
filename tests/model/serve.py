"""llama.cpp's server before a model's file, on a port of loopback, until SIGTERM; run with the Python of `fetch.py`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import xllamacpp


def main(path: str, port: int, template: str = "") -> None:
    """One place, one thread: it must share the machine with what is tested. `template` replaces the model's own."""
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 4_096
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja = True
    params.endpoint_metrics = params.endpoint_slots = True
    if template:
        params.chat_template = Path(template).read_text("utf-8")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server = xllamacpp.Server(params)
    print(f"ready {server.listening_address}", flush=True)
    stopped.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
