"""Agents that do nothing, or take their time."""
