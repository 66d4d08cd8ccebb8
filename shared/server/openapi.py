"""The OpenAPI document: every schema under a name of its own, every error as the problem that it is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.responses import PlainTextResponse

from shared.server.problems import PROBLEM
from shared.server.sse import MEDIA_TYPE

Json = dict[str, Any]
REFS, DEFS = "#/components/schemas/", "#/$defs/"
FASTAPIS = ("HTTPValidationError", "ValidationError")  # its form of a 422, which no route answers with


class Described(BaseModel):
    """An answer as the document describes it: it may have more fields than these."""

    model_config = ConfigDict(extra="allow")


class Problem(Described):
    """An error (RFC 9457)."""

    type: str = Field(description="`urn:muster:problem:` and the name of the error.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    errors: list[dict[str, JsonValue]] | None = Field(None, description="Of `invalid`: every wrong field.")


class EventStream(PlainTextResponse):
    """For `response_class`: server-sent events."""

    media_type = MEDIA_TYPE


def also(*media_types: str) -> dict[int | str, Json]:
    """FastAPI's `responses`: a 200 may be text of these types, too."""
    return {200: {"content": {media: {"schema": {"type": "string"}} for media in media_types}}}


def describe(app: FastAPI) -> Json:
    """FastAPI's document of an app: schemas are where references look for them, and errors are problems."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas: Json = document.setdefault("components", {}).setdefault("schemas", {})
    for name in FASTAPIS:
        schemas.pop(name, None)
    schemas["Problem"] = _lift(Problem.model_json_schema(), schemas, {})
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"key": []}]  # none is needed where API_KEY is unset
    problem = {"description": "Problem", "content": {PROBLEM: {"schema": {"$ref": f"{REFS}Problem"}}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"].setdefault("default", problem)  # unless the route's protocol has a form of its own
    document["paths"] = _lift(document["paths"], schemas, {})
    return document


def _lift(part: Any, schemas: Json, names: dict[str, str]) -> Any:
    """The part without definitions of its own (`$defs`), which go among the document's; `names` maps references."""
    if isinstance(part, list):
        return [_lift(each, schemas, names) for each in part]
    if not isinstance(part, dict):
        return part
    defined = part.get("$defs", {})
    names = names | {f"{DEFS}{name}": f"{REFS}{part['title']}{name.lstrip('_')}" for name in defined}
    for name, schema in defined.items():
        called = names[f"{DEFS}{name}"].removeprefix(REFS)  # generators name their classes by the title
        schemas[called] = _lift(schema, schemas, names) | {"title": called}
    lifted = {key: _lift(value, schemas, names) for key, value in part.items() if key != "$defs"}
    return lifted | ({"$ref": names.get(part["$ref"], part["$ref"])} if isinstance(part.get("$ref"), str) else {})
