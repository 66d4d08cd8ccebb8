"""A cap on a process: what is written to the kernel, in both versions of control groups."""

from __future__ import annotations

from load.processes import caps


def test_a_new_kernel_gets_quota_and_period(tmp_path, monkeypatch):
    monkeypatch.setattr(caps, "ROOT", tmp_path)
    (tmp_path / "cgroup.controllers").touch()

    with caps.cap("one", 0.4) as group:
        caps.put(123, group)

    assert group.parent == tmp_path
    assert (group / "cpu.max").read_text() == "8000 20000"
    assert (group / "cgroup.procs").read_text() == "123"


def test_an_older_kernel_gets_them_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(caps, "ROOT", tmp_path)
    (tmp_path / "cpu").mkdir()

    with caps.cap("one", 0.4) as group:
        assert (group / "cpu.cfs_quota_us").read_text() == "8000"
        assert (group / "cpu.cfs_period_us").read_text() == "20000"

    assert group.parent == tmp_path / "cpu"
