"""The agent loop: what an agent with a model does until it has an answer."""
