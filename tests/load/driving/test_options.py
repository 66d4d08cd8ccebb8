"""Options that are taken and refused."""

from __future__ import annotations

import pytest

from load.driving.options import parse


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--url http://example.com:8000", "add --allow-remote"),
        ("--url http://10.0.0.7:8000", "add --allow-remote"),
        ("--url http://localhost.example.com", "add --allow-remote"),
        ("--url ftp://127.0.0.1", "must be an http:// or https:// URL"),
        ("--url http://127.0.0.1:99999", "is no URL"),
        ("--steps 10,5", "must rise"),
        ("--steps 5,5", "must rise"),
        ("--steps 0,5", "must rise"),
        ("--steps 5,x", "is not a list like 5,10,20"),
        ("--steps 100000", "at most 5,000"),
        ("--seconds -1", "must be a number from"),
        ("--seconds nan", "must be a number from"),
        ("--timeout 0", "must be a number from"),
        ("--min-success 101", "must be a number from"),
        ("--max-tasks 0", "must be a number from"),
        ("--rate 1e9", "must be a number from"),
        ("--seconds 80000", "more than 24 hours"),
        ("--scenario quake", "invalid choice"),
        ("--scenario worker-dies", "needs a victim"),
        ("--scenario worker-dies --kill-pid 1", "is not a worker"),
        ("--scenario worker-dies --kill-pid 99 --kill-container x", "name one victim"),
        ("--kill-pid 99", "belong to --scenario worker-dies"),
        ("--json /nowhere/at/all.json", "cannot be written"),
        ("--html /", "cannot be written"),
        ("--frobnicate", "unrecognized arguments"),
    ],
)
def test_refused_options_are_one_sentence_and_exit_code_2(arguments, why, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert why in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost", "http://[::1]:8000", "https://127.9.9.9"])
def test_this_machine_needs_no_permission(url):
    assert parse(["--url", url]).url == url.rstrip("/")


def test_another_machine_with_permission():
    assert parse(["--url", "http://example.com", "--allow-remote"]).url == "http://example.com"
