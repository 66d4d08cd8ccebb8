"""How the built-in workers use a model, and what of its answers they believe."""
