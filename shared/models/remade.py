"""A model as a replay makes it again: what it is like, and nothing of where it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.models.model import LanguageModel


def describe(model: LanguageModel) -> dict[str, Any]:
    """What a replay makes the model of again; neither its address nor its key is in it."""
    return {
        "name": model.name,
        "seconds": model._seconds,
        "max_tokens": model._max_tokens,
        "native_tools": model.native_tools,
        "temperature": model._temperature,
        "scripted": model.scripted,
    }


def remake(told: Mapping[str, Any]) -> LanguageModel:
    """The model of a description, for which the record answers."""
    kept = {name: value for name, value in told.items() if name != "scripted"}
    return LanguageModel(**kept, script=() if told["scripted"] else None)
