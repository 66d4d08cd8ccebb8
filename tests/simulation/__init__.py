"""The whole suite in one process on virtual time, with a network and a disk that fail as a seed says."""
