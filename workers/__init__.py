"""The agents, a file each. This package is imported before any of them: libraries are loaded here, in less time."""

from shared.server.loading import load_libraries

load_libraries()
