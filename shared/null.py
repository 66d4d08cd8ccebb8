"""JSON's null as the default of a field that has one."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class Null:
    """`Annotated[int, Null(5)]`: JSON's null means the default, as it does where None is one.

    A default that is called, `list` say, is made for each value.
    """

    def __init__(self, default: Any) -> None:
        self._default = default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        given = handler(source)
        make = self._default if callable(self._default) else lambda: self._default
        return core_schema.no_info_before_validator_function(
            lambda value: make() if value is None else value,
            given,
            json_schema_input_schema=core_schema.nullable_schema(given),
        )
