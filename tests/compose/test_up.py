"""Up from nothing: four containers, healthy within seconds, and the README's calls."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(120, func_only=True)


def test_all_four_serve(stack):
    assert stack.healthy() == ["analyzer", "reporter", "researcher"]
