"""Frozen values with some fields changed."""

from dataclasses import dataclass, replace

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
