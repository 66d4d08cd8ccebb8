"""`python -m coordinator --port N`"""

from __future__ import annotations

from shared.server.loading import load_libraries

if __name__ == "__main__":
    load_libraries()

    from coordinator.app import create_app
    from shared import failpoints, logs
    from shared.documents.settings import UploadSettings
    from shared.server.run import bind, make_endpoint, parse_arguments, serve
    from shared.settings import CoordinatorSettings, ModelSettings, load_settings
    from shared.telemetry.starting import start_telemetry

    args = parse_arguments(
        prog="python -m coordinator",
        description="Muster's coordinator: the registry of agents, and the way of every task. Settings: .env.example.",
        default_port=8000,
    )
    settings = load_settings(CoordinatorSettings)
    logs.configure(settings, service="coordinator")
    model = load_settings(ModelSettings) if settings.planner == "model" else None
    uploads = load_settings(UploadSettings)
    sock = bind(args.host, args.port)
    port = sock.getsockname()[1]
    if settings.open_url is None:
        settings = settings.model_copy(update={"open_url": make_endpoint(args.host, port)})
    telemetry = start_telemetry(settings, service="coordinator")
    at = failpoints.from_environment()
    app = create_app(settings, model=model, uploads=uploads, at=at, telemetry=telemetry, port=port)
    serve(app, sock)
