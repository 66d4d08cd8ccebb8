"""Agents and scripts for test suites that others wrote."""
