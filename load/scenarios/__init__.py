"""The runs of `python -m load.run`: the search for the knee, and schedules during which something happens."""
