"""Figures that are measured, and held against targets."""
