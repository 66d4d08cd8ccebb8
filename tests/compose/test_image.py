"""The image: small, with nothing to build with, not root's, labelled, and built again in layers that stay."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.docker import ROOT, docker, inspected, run

BASE = "python:3.13-slim"
MOST_BYTES = 130_000_000  # above the base

pytestmark = pytest.mark.timeout(240, func_only=True)


def inside(image: str, command: str) -> str:
    """What a shell in a container of the image printed."""
    return docker("run", "--rm", "--read-only", image, "bash", "-c", command)


def test_it_is_small(image):
    above = inspected(image)["Size"] - inspected(BASE)["Size"]

    print(f"{above / 1e6:.0f} MB above {BASE}")
    assert above <= MOST_BYTES


def test_runs_unprivileged_and_writes_only_its_state(image):
    """It runs as nobody special who may write only its state."""
    assert inspected(image)["Config"]["User"] == "muster"
    assert inside(image, "id -u; id -g").split() == ["10001", "10001"]
    writable = inside(
        image, "find / -xdev -writable -not -type l -not -path '/proc*' -not -path '/dev*' 2>/dev/null; true"
    )
    rw = docker(
        "run",
        "--rm",
        image,
        "bash",
        "-c",
        "for d in /app /opt /usr /etc /data /tmp; do test -w $d && echo $d; done; true",
    )
    assert writable == ""  # the root is read-only
    assert rw.split() == ["/data", "/tmp"]


def test_image_holds_no_build_tools(image):
    """What the base ships stays: the venv has no pip, and nothing of the first stage's caches came along."""
    ours = inside(image, "ls /opt/muster/bin")
    assert not re.search(r"\bpip|easy_install|wheel|uv\b", ours)
    tools = ("gcc", "cc", "g++", "make", "ld", "git", "curl", "wget")
    assert inside(image, f"for t in {' '.join(tools)}; do command -v $t; done; true") == ""
    left = "/root/.cache /tmp/* /var/cache/apt/archives/*.deb /var/lib/apt/lists/*_Packages"
    assert inside(image, f"ls -d {left} 2>/dev/null; true") == ""
    steps = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert "pip" not in steps
    assert "apt-get" not in steps


def test_every_dependency_is_pinned_with_hashes():
    lines = (ROOT / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
    wanted = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert wanted
    assert [line for line in wanted if "==" not in line or "--hash=sha256:" not in line] == []
    assert "--require-hashes" in (ROOT / "Dockerfile").read_text()


def test_labels_say_what_it_is(image):
    labels = inspected(image)["Config"]["Labels"]
    wanted = {"title", "description", "licenses", "version", "revision"}
    assert {name.removeprefix("org.opencontainers.image.") for name in labels} >= wanted


def test_it_knows_the_revision_it_was_built_from():
    """As `make image` gives it; `/health` says what MUSTER_REVISION is."""
    built = docker("build", "--quiet", "--build-arg", "REVISION=9fc31975d0c2", ".")
    found = inspected(built)["Config"]

    assert found["Labels"]["org.opencontainers.image.revision"] == "9fc31975d0c2"
    assert "MUSTER_REVISION=9fc31975d0c2" in found["Env"]


def test_its_health_probe_is_a_shell(image):
    """A Python one-liner costs 194 ms of processor time a look, bash 1.4 ms; curl is not there."""
    probe = inspected(image)["Config"]["Healthcheck"]
    assert probe["Test"] == ["CMD", "bash", "/app/shared/probe.sh"]
    assert probe["Interval"] == 5_000_000_000
    look = " ".join(probe["Test"][1:])
    for answer, code in (("200 OK", 0), ("503 Service Unavailable", 1)):
        server = (
            "import socket; s = socket.create_server(('127.0.0.1', 8000)); print(flush=True); c, _ = s.accept(); "
            f"c.recv(99); c.sendall(b'HTTP/1.0 {answer}\\\\r\\\\n\\\\r\\\\n'); c.close()"
        )
        command = f'coproc python -c "{server}"; read -r -u ${{COPROC[0]}}; {look}; echo $?'
        assert inside(image, command).splitlines()[-1] == str(code), answer
    assert inside(image, f"{look} 2>/dev/null; echo $?").splitlines()[-1] == "1"


def test_probe_process_stays_and_notices_a_lost_service(image):
    """The first look returns at once; the process of the second one is there when the service ends."""
    server = (
        "import http.server as h; k = type('K', (h.BaseHTTPRequestHandler,), "
        "{'do_GET': lambda s: s.send_response(200) or s.end_headers(), 'log_message': lambda *a: None}); "
        "h.ThreadingHTTPServer(('127.0.0.1', 8000), k).serve_forever()"
    )
    look = "bash /app/shared/probe.sh 2>/dev/null"
    command = (
        f'python -c "{server}" & until {look}; do sleep 0.1; done; {look} & sleep 1; '
        "kill -0 $! && echo stays; kill %1; wait $!; echo $?; ! ls /tmp/.ready 2>/dev/null"
    )
    said = docker("run", "--rm", "--init", "--read-only", "--tmpfs", "/tmp", image, "bash", "-c", command)
    assert said.splitlines() == ["stays", "1"]


def test_a_change_of_code_installs_nothing_again(image, tmp_path: Path):
    """Dependencies are a layer of their own, made again only when requirements.txt changes."""
    context = tmp_path / "muster"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("coordinator", "shared", "workers", "docs"):
        shutil.copytree(ROOT / name, context / name, ignore=ignored)
    for name in ("Dockerfile", "requirements.txt", "requirements-semantic.txt", ".dockerignore"):
        shutil.copy2(ROOT / name, context / name)
    with (context / "workers" / "reporter.py").open("a") as file:
        file.write("# changed\n")

    built = run("docker", "build", "--progress", "plain", str(context))

    steps = re.findall(r"^#(\d+) \[(.+?)\] (.+)$", built.stderr, re.MULTILINE)
    cached = set(re.findall(r"^#(\d+) CACHED$", built.stderr, re.MULTILINE))
    install = [number for number, _, step in steps if "pip" in step]
    assert install, built.stderr[-2000:]
    assert set(install) <= cached


def test_only_what_runs_goes_into_the_build():
    """Neither .env nor keys nor a journal of the developer's."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        "!coordinator",
        "!shared",
        "!workers",
        "!docs",
        "!requirements.txt",
        "!requirements-semantic.txt",
    }


def test_all_services_start_from_the_same_image(image):
    for module in ("coordinator", "workers.researcher", "workers.analyzer", "workers.reporter"):
        assert "--port" in inside(image, f"python -m {module} --help"), module


@pytest.mark.parametrize(("file", "others"), [("yml", set()), ("prod.yml", {"caddy:2", "postgres:17"})])
def test_all_of_ours_is_one_image(file, others):
    """One image of ours: what differs is the command. Others are in the production file, and are named by versions."""
    config = json.loads(run("docker", "compose", "-f", f"docker-compose.{file}", "config", "--format", "json").stdout)
    services = config["services"].values()
    assert {service["image"] for service in services} == {"muster:latest"} | others
    assert all("command" in service for service in services)
