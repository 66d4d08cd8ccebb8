import pytest

pytest.register_assert_rewrite("tests.support.traffic", "tests.support.stack")  # their asserts say what they saw
