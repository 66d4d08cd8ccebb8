"""Composition root: builds every part of the coordinator and opens them in the lifespan."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import lru_cache, partial
from random import Random
from uuid import uuid4

import httpx

from coordinator.access.audit import Audit
from coordinator.access.guard import Guard
from coordinator.access.hosts import list_allowed_names
from coordinator.access.keys import Keys
from coordinator.access.newcomers import Newcomers
from coordinator.access.restored import audit_restore
from coordinator.access.sessions import Sessions
from coordinator.admission.admission import Admission
from coordinator.agent_calls.client import WorkerClient
from coordinator.agent_pool.canaries import Canaries
from coordinator.agent_pool.holders import Holders
from coordinator.agent_pool.pool import Agents
from coordinator.agent_pool.records import AgentRecords
from coordinator.agents.able_names import AbleNames
from coordinator.agents.registration_cache import Registrations
from coordinator.agents.registry import MAX_AGENTS, Registry
from coordinator.api import agents as api_agents
from coordinator.api import audit as api_audit
from coordinator.api import delegate, gateway, reports, tasks
from coordinator.api.dependencies import Services
from coordinator.api.documents import routes as documents
from coordinator.api.gate import Gate
from coordinator.api.quick import QUICK
from coordinator.console import routes as console
from coordinator.console.opening import say_where
from coordinator.execution.delegations import Delegations
from coordinator.execution.dispatcher import Dispatcher
from coordinator.execution.model_planner import open_planner
from coordinator.execution.starts import Starts
from coordinator.execution.step_runner import Runner
from coordinator.execution.waiting import Waiter
from coordinator.fleet.clock import SharedClock
from coordinator.fleet.opening import choose_dispatcher, join_fleet, make_database
from coordinator.journal import pruning, watching
from coordinator.journal.clocks import Boot, SettledClock, find_boot
from coordinator.journal.deadlines import Deadlines
from coordinator.journal.events import Events, Feed, log_lines
from coordinator.journal.location import is_server, journal_folder, journal_path
from coordinator.journal.store import Store
from coordinator.journal.upkeep.backups import Backups
from coordinator.observers.gauges import Gauges
from coordinator.observers.meter import Meter
from coordinator.observers.stats import Stats
from coordinator.observers.traces import Traces
from coordinator.observers.webhooks import Webhooks
from coordinator.protocols.chat import NAME, CoordinatorFace
from coordinator.protocols.kaos_events import list_delegations
from coordinator.protocols.mcp import endpoint as mcp
from coordinator.recording.flight import Flights
from coordinator.uploads.folder import Uploads
from shared import logs
from shared.background import Background
from shared.client import client as transport
from shared.db.database import Database
from shared.documents.settings import UploadSettings
from shared.failpoints import At, nowhere
from shared.limits.envelope import derive_key
from shared.memory.recorder import Remembering
from shared.memory.store import Memory, MemoryLimits
from shared.protocols.a2a import mount as a2a
from shared.protocols.kaos import routes as kaos
from shared.protocols.mounting import Host, Mount, mount
from shared.protocols.openai import routes as openai
from shared.server.app import App, Stopping, make_service
from shared.server.metrics import ServiceMetrics
from shared.settings import CoordinatorSettings, ModelSettings
from shared.telemetry.spans import Telemetry
from shared.version import VERSION

STEPS_A_TASK = 16  # connections are shared by so many steps of every running task
FACADES: tuple[Mount, ...] = (openai.mount, kaos.mount, mcp.mount, a2a.mount)
CALL_SECONDS = 86_400.0  # every call sets its own deadline; this one only bounds a forgotten one


def create_app(
    settings: CoordinatorSettings,
    *,
    model: ModelSettings | None = None,
    uploads: UploadSettings | None = None,
    inner: httpx.AsyncBaseTransport | None = None,
    now: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    boot: Callable[[], Boot | None] = find_boot,
    random: Random | None = None,
    new_id: Callable[[], str] = lambda: uuid4().hex,
    at: At = nowhere,
    flights: Flights | None = None,
    database: Database | None = None,
    facades: Sequence[Mount] | None = None,
    telemetry: Telemetry | None = None,
    port: int = 8_000,
) -> App[Services]:
    """The coordinator as a FastAPI app.

    `inner` replaces the network, `now` (monotonic), `wall` and `boot` the clocks, `random` chance, `new_id` task ids,
    and `at` is called at every named point. `port` is where it listens, `flights` stands in for those that RECORD asks
    for, `database` for the journal of the settings, `facades` for all protocols; `model` is what
    `settings.planner == "model"` plans with, `uploads` where documents go, if anywhere; `telemetry` takes its spans and
    figures. Its lifespan raises `StorageBroken` for a journal that cannot be used, MusterError for a planner without a
    model.
    """
    random = random or Random()
    shared, this_boot = is_server(settings.database_url), boot()
    clock = SharedClock(wall, now if this_boot is None else this_boot.read)
    wall = clock.read if shared else wall
    metrics = ServiceMetrics()
    stats, meter = Stats(metrics), Meter(metrics, wall=wall)
    folder = journal_folder(settings.database_url)
    memory = Memory(
        NAME, folder, limits=MemoryLimits.from_settings(settings), enabled=settings.memory_enabled, wall=wall
    )
    audit = Audit(now=now)
    keys = Keys.of(settings, now=now)
    names = list_allowed_names(settings.public_url, settings.allowed_hosts, settings.mcp_allowed_hosts)
    guard = Guard(keys, audit, names=names)
    received = Uploads(uploads, apart_from=[path for path in (folder, settings.backup_dir) if path])
    app: App[Services] = make_service(
        name=NAME,
        version=VERSION,
        ready=lambda services: services.store.find_trouble(),
        check=guard,
        base=settings.base_path,
        metrics=metrics,
        now=now,
        telemetry=telemetry,
    )

    async def open_services(stack: AsyncExitStack) -> Services:
        keys.load()
        stack.push_async_callback(memory.close)
        await received.open()
        stack.callback(received.close)
        events = Events()
        journal = journal_path(settings.database_url)
        db = database or make_database(settings, at=at, on_broken=app.fail)
        store, starts = Store(db, publish=events.publish, wall=wall, boot=this_boot), Starts(db)
        flying = flights
        if flying is None and settings.record:
            from coordinator.recording.recorder import Recorders

            flying = recorders = Recorders(store.read_position)
            store.recorded = recorders.drain
        stack.push_async_callback(store.close)
        await store.open()
        if shared:
            await clock.measure(db)
            memory.use(db)
        stack.push_async_callback(starts.end)
        settled = SettledClock(db, wall=wall, now=now, boot=this_boot)
        await settled.open()
        secret = await store.secret()
        audit.tell = partial(store.note, None)
        await audit_restore(journal, audit, store.attempts_written)
        feed = Feed(store.events)
        to_webhooks = await stack.enter_async_context(
            transport.make_client(policy="agents" if settings.private_webhooks else "web", transport=inner)
        )
        webhooks = Webhooks(store, to_webhooks, settings.base_path, wall=wall, now=now, random=random, at=at)
        traces = None if telemetry is None else Traces(telemetry.recorder)
        for reader in (stats.record, log_lines(), feed.read, webhooks.notice, *((traces.read,) if traces else ())):
            events.add(reader)
        http = await stack.enter_async_context(
            transport.make_client(
                policy="agents",
                private=settings.private_agents,
                seconds=CALL_SECONDS,
                max_connections=settings.max_concurrent_tasks * STEPS_A_TASK,
                transport=inner,
            )
        )
        background = await stack.enter_async_context(Background(app.fail))
        key_of = lru_cache(MAX_AGENTS)(partial(derive_key, secret))
        client = WorkerClient(http, key_of=key_of, at=at, now=now)
        registry = Registry(now=now, wall=wall, settled=settled, random=random)
        sessions = Sessions(keys, secret, wall=wall)
        records = AgentRecords(store, wall=wall)
        agents = Agents(
            registry,
            store,
            client,
            background,
            records=records,
            holders=Holders(records, Newcomers(now=now), secret=secret),
            probe_seconds=settings.health_check_interval,
            now=now,
        )
        admission = Admission(
            max_running=settings.max_concurrent_tasks,
            max_queued=settings.max_queued_tasks,
            names_of=AbleNames(registry),
            weight_of=keys.get_weight,
            told_apart=keys.are_several,
            now=now,
            waited=meter.task_waited,
        )
        runner = Runner(agents=agents, client=client, store=store, meter=meter, now=now, random=random, traces=traces)
        dispatcher = choose_dispatcher(shared)(
            store=store,
            starts=starts,
            deadlines=Deadlines(store, boot=this_boot, clock=settled),
            runner=runner,
            admission=admission,
            known_agents=registry.list_names,
            planner=await open_planner(settings, model, registry.list_all, meter, stack),
            flights=flying,
            default_timeout=settings.request_timeout,
            now=now,
            wall=wall,
            new_id=new_id,
        )
        if not shared:
            stack.push_async_callback(dispatcher.close)
        await agents.load()
        agents.start()
        asking = WorkerClient(http, key_of=key_of, now=now)
        canaries = Canaries(agents, asking, background, meter=meter, now=now, random=random)
        canaries.start()
        if shared:
            app.drain, sharing = await join_fleet(
                *(stack, settings, db, store, dispatcher, agents, feed, sessions, background, clock, app.stopping),
                identity=uuid4().hex,
                port=port,
            )
        elif recovered := await dispatcher.recover():
            logs.get().info("tasks.recovered", tasks=recovered)
            background.once("recovery", dispatcher.resume())
        if not shared:
            background.once("starts", starts.blame_later())
        most = settings.record_max_bytes if flying is not None else None
        background.loop(
            "history", lambda: pruning.prune_forever(store, days=settings.history_days, wall=settled, recorded=most)
        )
        background.loop("clock", settled.watch_forever)
        background.loop("journal", lambda: watching.watch_forever(store.watch))
        background.loop("journal-check", lambda: watching.check_forever(store.watch))
        background.loop("webhooks", webhooks.run)
        background.once("stop", _stop_with(app.stopping, dispatcher))
        if url := settings.public_url or settings.open_url:
            background.once("opening", say_where(url, registry))
        stats.gauges["tasks_running"].set_function(lambda: admission.running)
        stats.gauges["tasks_queued"].set_function(lambda: admission.queued)
        backups = Backups.of(settings, wall=wall, tell=meter.backed_up)
        if backups.every is not None:
            background.loop("backups", backups.make_forever)
        Gauges(
            registry=registry,
            store=store,
            stats=stats,
            meter=meter,
            backups=backups,
            journal=journal,
            history_days=settings.history_days,
            now=now,
            wall=wall,
        ).add_to(metrics)
        return Services(
            settings=settings,
            store=store,
            agents=agents,
            dispatcher=dispatcher,
            delegations=Delegations(
                agents=agents, runner=runner, dispatcher=dispatcher, places=admission.places, store=store, now=now
            ),
            registrations=Registrations(private=settings.private_agents),
            audit=audit,
            uploads=received,
            admission=admission,
            waiter=Waiter(dispatcher, feed, app.stopping, now, settings.base_path, wall if shared else None),
            stats=stats,
            meter=meter,
            http=http,
            secret=secret,
            secured=keys.wanted,
            sessions=sessions,
            stopping=app.stopping,
            now=now,
            wall=wall,
            started=now(),
            sharing=sharing if shared else None,
        )

    app.large_bodies |= received.bodies
    app.gate = Gate(app, guard, metrics, base=settings.base_path, now=now)
    app.open_with(open_services)
    app.add_routes(api_agents.router)
    app.router.routes[:0] = QUICK
    console.mount(app, base=settings.base_path)
    for router in (tasks.router, reports.router, documents.router, delegate.router, api_audit.router, gateway.router):
        app.add_routes(router)
    host = Host(
        app=app,
        face=Remembering(CoordinatorFace(app.get_opened, memory), memory, between=list_delegations),
        folder=folder,
        secured=keys.wanted,
        public_url=settings.public_url,
        private=settings.private_webhooks,
        memory=memory,
        features=("task_delegation",),
        get_shared=lambda: app.get_opened().sharing,
    )
    mount(host, FACADES if facades is None else facades)
    return app


async def _stop_with(stopping: Stopping, dispatcher: Dispatcher) -> None:
    await stopping.event.wait()
    dispatcher.stop()
