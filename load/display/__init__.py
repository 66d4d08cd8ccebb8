"""A run as it is shown: on a terminal and as a page."""
