"""Tasks sent to a running coordinator, and what became of each."""
