"""Frozen values with some fields changed."""

from dataclasses import dataclass, replace
from functools import cached_property

import pytest

from shared.copying import changed


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


def test_what_was_cached_of_the_old_value_is_not_the_new_one_s():
    @dataclass(frozen=True)
    class Square:
        side: int

        @cached_property
        def area(self) -> int:
            return self.side**2

    square = Square(2)

    assert (square.area, changed(square, side=3).area) == (4, 9)
