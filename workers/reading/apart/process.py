"""The process that reads: one document after another, each within its time, all within a limit of memory.

Its limits are the kernel's, so that they hold whatever the code of a library is doing. It ends with the service: at the
end of its input, at once when the thread that started it dies, and at the latest when its document times out.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress

from workers.reading.apart import messages
from workers.reading.opened import read_file, unread

MEMORY_BYTES = 400_000_000  # of addresses; what is really used stays under 300 MB, so that the service fits beside it
PR_SET_PDEATHSIG = 1  # prctl(2)


def run(requests: int, answers: int) -> None:
    """Answers until there are no more requests."""
    with open(answers, "wb") as out, open(requests, "rb") as lines:
        out.write(messages.READY)
        out.flush()
        for line in lines:
            request = messages.request(line)
            signal.setitimer(signal.ITIMER_REAL, request.seconds)
            try:
                answer = messages.pack(read_file(request.where, request.path))
            except MemoryError:
                answer = messages.pack(unread("needs more memory to read than is available"))
            signal.setitimer(signal.ITIMER_REAL, 0)  # to write may take as long as the service is busy
            out.write(answer)
            out.flush()


def limit() -> None:
    """Takes the limits; what a system does not know is left out."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as stream:
        stream.write("1000")  # where memory is short all the same, it goes first, and not the service
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the service's business
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


if __name__ == "__main__":
    with suppress(OSError):
        os.nice(5)  # questions go first
    answers_to = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    limit()
    with suppress(BrokenPipeError):
        run(0, answers_to)
    sys.stdout.flush()
