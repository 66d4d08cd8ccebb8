"""The agents, a file each. This package is imported before any of them: libraries are loaded here, in less time."""

import sys

from shared.server.loading import load_libraries

if "workers.reading.apart.process" not in sys.orig_argv:  # it reads documents, and needs no library of a service
    load_libraries()
