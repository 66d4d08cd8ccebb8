import pytest

pytest.register_assert_rewrite("tests.compose.traffic", "tests.compose.stack")  # their asserts say what they saw
