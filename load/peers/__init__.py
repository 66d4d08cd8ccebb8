"""The same job done by others, each in a venv of its own, measured side by side with Muster."""
