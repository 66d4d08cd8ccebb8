"""docs/deploy: the scrape file, the alerts and the dashboard, as a real Prometheus takes them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from load.processes.ports import free_port
from tests.monitoring.fetch import find_programs
from tests.support import fakes
from tests.support.fakes import Network, Suite, eventually, serving

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
ALERTS = [rule for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]

pytestmark = pytest.mark.timeout(180)


def promtool(*args: str) -> str:
    done = subprocess.run(
        [str(find_programs()[1]), *args], cwd=DEPLOY, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_scrape_file_and_rules_are_well_formed() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "config", "prometheus.yml")


def test_every_alert_fires_and_stays_quiet() -> None:
    """As alerts.test.yml says, which has both for every alert."""
    promtool("test", "rules", "alerts.test.yml")

    cases = [case["name"] for case in yaml.safe_load((DEPLOY / "alerts.test.yml").read_text())["tests"]]
    wanted = [f"{rule['alert']} {how}" for rule in ALERTS for how in ("fires", "stays quiet")]
    assert sorted(cases) == sorted(wanted)


def test_every_name_is_a_documented_metric() -> None:
    """A metric that was misspelled is no error to Prometheus: the alert would never fire."""
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    used = {
        name.removesuffix("_bucket")
        for text in [rule["expr"] for rule in ALERTS] + [query for _, query in QUERIES]
        for name in re.findall(r"\b(?:muster|process)_\w+", text)
    }

    assert used - documented == set()


def test_the_dashboard_is_what_grafana_imports() -> None:
    """Every panel has a title, a place of its own, and asks the Prometheus that was chosen."""
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in DASHBOARD["panels"]})
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["targets"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.AsyncClient]:
    """A Prometheus with the files as they are, but for the address and the interval."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "alerts.yml")]
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] == "muster"]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [str(find_programs()[0]), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        yield httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30)
    finally:
        process.terminate()
        process.wait(timeout=60)


@asynccontextmanager
async def suite_in_use(folder: Path) -> AsyncIterator[str]:
    """Host and port of a coordinator that has carried a task, failed one, and refused a request."""
    agents = (fakes.RESEARCHER, fakes.ANALYZER, fakes.REPORTER)
    async with (
        Suite(Network(), *agents, database_url=f"sqlite:///{folder}/muster.db") as suite,
        serving(suite.app, lifespan=False) as url,
    ):
        await suite.execute()
        await suite.execute(plan=[{"id": "s", "capability": "paint"}])
        yield url.removeprefix("http://")


async def ask(client: httpx.AsyncClient, path: str, **params: str) -> Any:
    answer = await client.get(path, params=params)
    assert answer.is_success, (params, answer.text)
    return answer.json()["data"]


async def test_every_query_of_the_dashboard_has_an_answer(tmp_path: Path) -> None:
    """Also those of what has not happened yet: a panel without data looks like one that is broken."""
    async with suite_in_use(tmp_path) as target:
        with prometheus(tmp_path, target) as client:
            async with client:

                async def scraped() -> bool:
                    try:
                        ready = await client.get("/query", params={"query": 'count_over_time(up{job="muster"}[1m])'})
                    except httpx.TransportError:
                        return False
                    found = ready.json()["data"]["result"] if ready.is_success else []  # 503 while it reads its files
                    return bool(found) and int(found[0]["value"][1]) >= 3

                await eventually(scraped, seconds=90, why=lambda: (tmp_path / "log").read_text()[-2_000:])
                empty = []
                for title, query in QUERIES:
                    found = await ask(client, "/query", query=query.replace("$__rate_interval", "1m"))
                    if not found["result"]:
                        empty.append((title, query))

                async def evaluated() -> list[Any]:
                    groups = (await ask(client, "/rules"))["groups"]
                    rules = [rule for group in groups for rule in group["rules"]]
                    return rules if all(rule["health"] != "unknown" for rule in rules) else []

                rules = await eventually(evaluated, seconds=60)

    assert empty == []
    assert {rule["name"]: rule["health"] for rule in rules} == {rule["alert"]: "ok" for rule in ALERTS}
