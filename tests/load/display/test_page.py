"""The axes of the charts."""

from __future__ import annotations

import pytest

from load.display.page import choose_logarithmic_ticks, choose_ticks


@pytest.mark.parametrize(("top", "expected"), [(0, [0, 1]), (1.9, [0, 0.5, 1, 1.5, 2]), (100, [0, 25, 50, 75, 100])])
def test_ticks_are_round(top, expected):
    assert choose_ticks(top) == pytest.approx(expected)


def test_ticks_of_a_logarithmic_axis_enclose_the_values():
    assert choose_logarithmic_ticks(0.02, 4) == [0.01, 0.03, 0.1, 0.3, 1, 3, 10]
