"""PURE: a shape as a model is asked for it: a schema that servers can enforce, and an example line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, JsonValue

MOST_ITEMS = 24  # llama.cpp refuses a grammar with repetitions in the thousands ("failed to parse grammar")
MOST_CHARACTERS = 600  # of a text
_KEPT = (
    "type",
    "enum",
    "const",
    "items",
    "properties",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "minItems",
    "minimum",
    "maximum",
)
_EXAMPLES: dict[str, JsonValue] = {"integer": 1, "number": 1, "boolean": True, "null": None}


def response_format(shape: type[BaseModel]) -> dict[str, Any]:
    """`response_format` of the chat API for a shape, as llama.cpp, vLLM, LM Studio, Ollama and OpenAI take it."""
    return {"type": "json_schema", "json_schema": {"name": shape.__name__, "schema": schema(shape)}}


def schema(shape: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a shape with small bounds; every field is required, so that none is left out for brevity."""
    found: dict[str, Any] = _without_bounds(shape.model_json_schema())
    return found


def example(shape: type[BaseModel]) -> str:
    """The shape as one line of JSON with `…` for every text. Small models copy a schema, and an example's words."""
    whole = schema(shape)
    return json.dumps(_filled(whole, whole.get("$defs", {}), depth=0), ensure_ascii=False)


def _without_bounds(given: Any) -> Any:
    if isinstance(given, list):
        return [_without_bounds(one) for one in given]
    if not isinstance(given, dict):
        return given
    kept = {name: value for name, value in given.items() if name in _KEPT}
    for name in ("properties", "$defs"):
        if isinstance(kept.get(name), dict):
            kept[name] = {key: _without_bounds(value) for key, value in kept[name].items()}
    for name in ("items", "anyOf", "allOf"):
        if name in kept:
            kept[name] = _without_bounds(kept[name])
    if "properties" in kept:
        kept |= {"required": list(kept["properties"]), "additionalProperties": False}
    if kept.get("type") == "array":
        kept["maxItems"] = min(given.get("maxItems", MOST_ITEMS), MOST_ITEMS)
    if kept.get("type") == "string" and not {"enum", "const"} & kept.keys():
        kept["maxLength"] = min(given.get("maxLength", MOST_CHARACTERS), MOST_CHARACTERS)
    return kept


def _filled(given: Mapping[str, Any], named: Mapping[str, Any], *, depth: int) -> JsonValue:
    if depth > 8:
        return None
    if "$ref" in given:
        return _filled(named.get(str(given["$ref"]).rsplit("/", 1)[-1], {}), named, depth=depth + 1)
    for choice in (*given.get("anyOf", ()), *given.get("allOf", ())):
        return _filled(choice, named, depth=depth + 1)
    if given.get("enum"):
        first: JsonValue = given["enum"][0]
        return first
    if "const" in given:
        constant: JsonValue = given["const"]
        return constant
    if "properties" in given:
        return {name: _filled(one, named, depth=depth + 1) for name, one in given["properties"].items()}
    if given.get("type") == "array":
        return [_filled(given.get("items", {}), named, depth=depth + 1)]
    return _EXAMPLES.get(str(given.get("type")), "…")
