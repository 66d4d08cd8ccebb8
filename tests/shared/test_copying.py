"""Frozen values with some fields changed."""

from dataclasses import dataclass, replace
from functools import cached_property

import pytest
from pydantic import BaseModel

from shared.copying import changed, constructed


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2


def test_it_is_what_replace_gives():
    point = Point(1)

    assert changed(point, y=5) == replace(point, y=5) == Point(1, 5)
    assert point == Point(1, 2)


def test_a_field_that_is_not_there_is_refused():
    with pytest.raises(TypeError, match="Point has no z"):
        changed(Point(1), z=3)


def test_copy_does_not_share_cached_values():
    """What was cached of the old value is not the new one's."""

    @dataclass(frozen=True)
    class Square:
        side: int

        @cached_property
        def area(self) -> int:
            return self.side**2

    square = Square(2)

    assert (square.area, changed(square, side=3).area) == (4, 9)


def test_a_model_of_checked_values_is_what_pydantic_makes():
    class Model(BaseModel):
        x: int
        y: list[str]

    made = constructed(Model, x=1, y=["a"])

    assert made == Model(x=1, y=["a"])
    assert made.model_dump_json() == '{"x":1,"y":["a"]}'
    assert made.model_copy(update={"x": 2}).x == 2
