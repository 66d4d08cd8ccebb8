"""Documents read in a process apart from the service, so that a bad one costs itself only."""
