"""PURE: the doctor's rules for services that cannot reach each other."""

from __future__ import annotations

from urllib.parse import urlsplit

from coordinator.cli.doctor.facts import CLI, COORDINATOR, PYTHON, Container, Coordinator, Diagnosis, Facts, SeenAgent

NEEDED = {"research": "researcher", "analyze": "analyzer", "report": "reporter"}  # by the default plan
KEYS_SECONDS = 30.0  # a worker tries every 2 s
AWAY = ("no_agent", "agent_unreachable", "agent_lost")


def reach(facts: Facts) -> list[Diagnosis]:
    """Coordinator, agents, and the two directions between them."""
    seen = facts.coordinator
    if seen.stranger is not None:
        why = f"{seen.stranger} answers there."
        return [_problem(f"The coordinator is not at {seen.url}.", why, f"ss -ltnp 'sport = :{seen.port}'")]
    down = _down(facts)
    if down is not None:
        return [down]
    unnamed = _unnamed(facts)
    if unnamed is not None:
        return [unnamed]
    lost = [(c, finding) for c in facts.containers if (finding := _check_worker(facts, c))]
    found = [finding for _, finding in lost]
    explained = {c.name for c, _ in lost}
    replaced: list[SeenAgent] = []
    for agent in seen.agents or ():
        home = facts.container_of(agent)
        if agent.status == "unreachable" and not (home and (home.name in explained or not home.well)):
            if _is_replaced(seen, agent):
                replaced.append(agent)
            else:
                found.append(_unreachable(facts, agent, home))
    if replaced:
        found.append(_former(facts, replaced))
    if seen.agents is not None and not found:
        found += _nobody(facts)
    if not found and seen.failed and seen.last_error_type in AWAY:
        found.append(_check_failures(facts))
    return found


def _problem(what: str, why: str, mend: str) -> Diagnosis:
    return Diagnosis(check="reach", severity="problem", what=what, why=why, mend=mend)


def _down(facts: Facts) -> Diagnosis | None:
    """Why the coordinator does not answer, from its container if it has one."""
    seen = facts.coordinator
    if seen.silent is None:
        return None
    what = f"The coordinator does not answer at {seen.url}."
    home = facts.project.service(COORDINATOR) if facts.project else None
    if facts.project is None:
        engine = next((one for one in facts.unseen if one.what == "containers" and one.mend), None)
        if engine is None:
            return _problem(what, f"{seen.silent}.", "make run")
        mend = f"{engine.mend} && docker compose up -d"
        return _problem(what, f"{seen.silent}; {engine.why}. Where no containers are used: make run.", mend)
    if home is None:
        return _problem(what, "The project has no coordinator container.", facts.up(COORDINATOR))
    if home.published and not any(where.endswith(f":{seen.port}") for where in home.published):
        where = home.published[0]
        why = f"The container {home.name} is published at {where}."
        return _problem(what, why, f"{CLI} doctor --url http://{where}")
    if not home.running or home.looping:
        again = f"{facts.compose} unpause {COORDINATOR}" if home.status == "paused" else facts.up(COORDINATOR)
        mend = f"{facts.compose} logs --tail 50 {COORDINATOR}" if home.looping else again
        return _problem(what, f"Its container {home.ending}.", mend)
    if home.health == "unhealthy":
        why = f"Its container is running, but its health check fails: {home.health_said}."
        return _problem(what, why, f"{facts.compose} restart {COORDINATOR}")
    if not home.networks:
        return _problem(what, "Its container is on no network.", facts.up(COORDINATOR, "--force-recreate"))
    if home.health == "starting":
        before = f"It {home.ending}." if home.restarts else "Give it 20 s."
        why = f"Its container started {home.running_seconds:.0f} s ago. {before}"
        return _problem(what, why, f"{facts.compose} logs --tail 50 {COORDINATOR}")
    if not home.published:
        return _problem(what, "Its container publishes no port.", facts.up(COORDINATOR))
    return _problem(what, f"Its container is running, but: {seen.silent}.", f"{facts.compose} restart {COORDINATOR}")


def _unnamed(facts: Facts) -> Diagnosis | None:
    """A coordinator that was disconnected from its network and connected again by hand: Compose's alias is gone."""
    home = facts.project.service(COORDINATOR) if facts.project else None
    if home is None or not home.well:
        return None
    shared = {name for c in facts.containers if c is not home for name in c.networks} & set(home.networks)
    if not shared or not shared <= set(home.nameless):
        return None
    network = min(shared)
    what = f"No worker can find the coordinator on the network {network}."
    why = f"Its container {home.name} lacks the alias {COORDINATOR!r} there."
    again = f"docker network connect --alias {COORDINATOR} {network} {home.name}"
    return _problem(what, why, f"docker network disconnect {network} {home.name} && {again}")


def _check_worker(facts: Facts, worker: Container) -> Diagnosis | None:
    """A worker that says it cannot reach the coordinator, or shares no network with it."""
    home = facts.project.service(COORDINATOR) if facts.project else None
    if not worker.well or worker.service == COORDINATOR or (home is not None and not home.well):
        return None
    what = f"{worker.service} cannot reach the coordinator."
    if home is not None and worker.environ.get("COORDINATOR_URL") and not set(home.networks) & set(worker.networks):
        if not home.networks:
            return _problem(what, "The coordinator is on no network.", facts.up(COORDINATOR, "--force-recreate"))
        mend = f"docker network connect --alias {worker.service} {home.networks[0]} {worker.name}"
        return _problem(what, f"Its container {worker.name} is not on the coordinator's network.", mend)
    line = worker.last("coordinator.unreachable", "agent.registered")
    if line is None or line.event == "agent.registered":
        return None
    url = line.fields.get("coordinator", "COORDINATOR_URL")
    why = f"It tries {url}: {line.fields.get('why', 'no answer')[:200]}".rstrip(".") + "."
    if "HTTP 401" in why or (home is not None and _refuses_keys(facts, home)):
        why = f"{url} rejects its API_KEY; set the same API_KEY for all services in .env."
    elif url.rstrip("/") != f"http://{COORDINATOR}:8000":
        why += f" Set its COORDINATOR_URL to http://{COORDINATOR}:8000."
    return _problem(what, why, facts.up(worker.service))


def _refuses_keys(facts: Facts, home: Container) -> bool:
    """Whether a worker is trying to register with a wrong key: a worker logs only its first failure in a row."""
    return any(
        (line.event, line.fields.get("path"), line.fields.get("status")) == ("request.done", "/register_agent", "401")
        and facts.at - line.at < KEYS_SECONDS
        for line in home.log
    )


def _unreachable(facts: Facts, agent: SeenAgent, home: Container | None) -> Diagnosis:
    error = agent.last_error.rstrip(".") or "unknown reason"
    if agent.is_alive and agent.canary_error:
        why = f"It sends heartbeats, but answers no steps: {error}."
        again = f"{facts.compose} restart {home.service}" if home else facts.curl(agent.endpoint)
        return _problem(f"{agent.name} does not work.", why, again)
    if agent.is_alive:
        what = f"The coordinator cannot reach {agent.name}."
        why = f"It sends heartbeats, but {agent.endpoint} does not answer: {error}."
        if home is not None:
            return _problem(what, f"{why} Set its ADVERTISE_URL.", facts.up(home.service))
        better = f"{agent.reached_at} does: set its ADVERTISE_URL to that, or start" if agent.reached_at else "Start"
        return _problem(what, f"{why} {better} it so that it finds its address.", "… --advertise")
    why = f"{agent.endpoint}: {error}."
    if home is not None:
        return _problem(f"{agent.name} has gone silent.", why, f"{facts.compose} restart {home.service}")
    return _problem(f"{agent.name} cannot be reached.", why, _revive(facts, agent))


def _is_replaced(seen: Coordinator, agent: SeenAgent) -> bool:
    return any(a.name == agent.name and a.status == "healthy" for a in seen.agents or ())


def _former(facts: Facts, agents: list[SeenAgent]) -> Diagnosis:
    """Instances that went away without a word while others of their name are healthy: one line for all of them."""
    if len(agents) == 1:
        (agent,) = agents
        ids, what = agent.id, f"{agent.id} is away."
        why = f"{agent.last_error.rstrip('.') or 'unknown reason'}; another {agent.name} is healthy."
    else:
        ids = f"{{{','.join(agent.id for agent in agents)}}}"  # curl asks for each
        names = ", ".join(sorted({agent.name for agent in agents}))
        what = f"{len(agents)} former instances are away."
        why = f"Others of the same name are healthy: {names}."
    mend = f"curl -X DELETE '{facts.coordinator.url}/agents/{ids}'"
    return Diagnosis(check="reach", severity="warning", what=what, why=why, mend=mend)


def _revive(facts: Facts, agent: SeenAgent) -> str:
    """For one of Muster's workers that is a plain process on this machine; how others are started is unknown."""
    parts = urlsplit(agent.endpoint)
    if facts.project or agent.name not in NEEDED.values() or parts.hostname not in ("127.0.0.1", "localhost"):
        return facts.curl(agent.endpoint)
    if "refused" in agent.last_error.lower():
        return f"COORDINATOR_URL={facts.coordinator.url} {PYTHON} -m workers.{agent.name} --port {parts.port}"
    return f"fuser -k -KILL {parts.port}/tcp  # it hangs; `make run` starts it again"


def _nobody(facts: Facts) -> list[Diagnosis]:
    """Capabilities that the default plan needs and that no agent has."""
    ours = any(c.service in NEEDED.values() for c in facts.containers)
    if facts.project and facts.coordinator.agents and not ours:
        return []  # a project of other agents, such as `render` makes: no command could start what it does not have
    can = {word for agent in facts.coordinator.agents or () for word in agent.capabilities}
    down = {c.service for c in facts.containers if not c.well}  # other checks speak of them
    away = {word: name for word, name in NEEDED.items() if word not in can and name not in down}
    if not away:
        return []
    names = list(away.values())
    mend = " ".join([f"{facts.compose} up -d", *names]) if facts.project else "make run"
    what = f"No agent can {', '.join(away)}."
    why = f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} not registered; a task without a plan needs them."
    return [Diagnosis(check="reach", severity="warning", what=what, why=why, mend=mend)]


def _check_failures(facts: Facts) -> Diagnosis:
    what = f"{facts.coordinator.failures} failed in the last ten minutes."
    seen = facts.coordinator
    mend = f"{CLI} tasks --status {seen.failed_status} --url {seen.url}"
    return Diagnosis(check="reach", severity="warning", what=what, why=facts.coordinator.last_error, mend=mend)
