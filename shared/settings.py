"""Every setting, read from the environment and `.env`; a secret also from the file that `<NAME>_FILE` names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from shared.client.here import check_dotenv
from shared.urls import is_http_url


def wrong(exc: ValueError) -> list[str]:
    """One sentence for each setting that could not be read."""
    if not isinstance(exc, ValidationError):
        return [str(exc)]
    sentences = []
    for error in exc.errors():
        said = error["msg"].removeprefix("Value error, ")
        name = "_".join(str(p) for p in error["loc"]).upper()
        sentences.append(f"{name}: {said} (is {error['input']!r})" if name else f"{said}.")
    return sentences


def _is_http_url(value: str) -> str:
    if not is_http_url(value):
        raise ValueError("must be an http:// or https:// URL with a host")
    return value


def at_home(path: Path) -> Path:
    """`~/notes` as the folder it means: shells do not expand `~` inside `.env`, nor do all of them after make's `=`."""
    try:
        return path.expanduser()
    except RuntimeError:  # nobody's home
        return path


def _to_seconds(value: object) -> object:
    """`6h` as seconds: a number with s, m, h or d behind it."""
    if not isinstance(value, str) or value[-1:] not in _UNITS:
        return value
    try:
        return float(value[:-1]) * _UNITS[value[-1]]
    except ValueError as exc:
        raise ValueError("must be seconds, or a number with s, m, h or d behind it") from exc


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
HostNames = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+( *, *[A-Za-z0-9._-]+)*$")]
Pause = Annotated[float, BeforeValidator(_to_seconds), Field(ge=1, le=31_536_000)]
HttpUrl = Annotated[str, AfterValidator(_is_http_url)]
Folder = Annotated[Path, AfterValidator(at_home)]


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `API_KEY_FILE=/run/secrets/api_key`, from the environment or `.env`, for a field `api_key: SecretStr`."""

    def __init__(self, settings_cls: type[BaseSettings], dotenv: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._dotenv = dotenv.env_vars if isinstance(dotenv, DotEnvSettingsSource) else {}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = f"{field_name}_file"
        path = os.environ.get(name.upper()) or self._dotenv.get(name)
        if not path or "SecretStr" not in str(field.annotation):
            return None, field_name, False
        try:
            value = Path(path).read_text(encoding="utf-8-sig").strip()
        except OSError as exc:
            absent = field_name == "api_key" and isinstance(exc, FileNotFoundError)
            hint = ". `make secrets` makes one." if absent else ""
            raise ValueError(f"{field_name.upper()}_FILE={path} cannot be read: {exc.strerror}{hint}") from exc
        except UnicodeDecodeError as exc:
            raise ValueError(f"{field_name.upper()}_FILE={path} is no text in UTF-8. Save it as UTF-8.") from exc
        if not value:  # an empty key would leave open what was meant to be closed
            raise ValueError(f"{field_name.upper()}_FILE={path} is empty. Write the secret into it.")
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """What every service reads. Unknown keys in `.env` are ignored, so that old files keep working."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",  # some editors begin the file with a mark, which would be part of the first name
        extra="ignore",
        env_ignore_empty=True,
        defer_build=True,  # each process reads two or three of the six
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much is logged.")
    log_format: Literal["console", "json"] = Field(
        "console", description="Readable lines, or one JSON object on each line."
    )
    api_key: SecretStr | None = Field(
        None, description="Bearer token that clients and agents must send to the coordinator; unset: open."
    )
    public_url: HttpUrl | None = Field(
        None, description="The address that agent cards show; unset: the address that was requested."
    )
    advertise_url: HttpUrl | None = Field(
        None,
        description="Where coordinators reach this service, other coordinators too; unset: derived from host and port.",
    )
    otel_exporter_otlp_endpoint: HttpUrl | None = Field(
        None, description="Where traces and figures are sent by OTLP over HTTP; unset: nowhere."
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="Headers that are sent along, such as `authorization=Bearer%20abc`; comma-separated."
    )
    memory_enabled: bool = Field(True, description="Whether conversations are remembered, for `/memory/events`.")
    memory_max_sessions: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1_000, description="Sessions that an agent remembers; the least recently used is dropped first."
    )
    memory_max_session_events: Annotated[int, Field(ge=1, le=100_000)] = Field(
        500, description="Events of one session that are remembered; the oldest is dropped first."
    )
    memory_max_bytes: Annotated[int, Field(ge=1_000, le=10_000_000_000)] = Field(
        50_000_000, description="Total bytes that an agent remembers; the least recently used session is dropped first."
    )
    memory_days: Annotated[float, Field(gt=0, le=36_500)] = Field(30.0, description="Days that an event is remembered.")

    @property
    def base_path(self) -> str:
        """The path of PUBLIC_URL, below which this service appears to its callers; mostly empty."""
        return urlsplit(self.public_url or "").path.rstrip("/")

    @model_validator(mode="after")
    def _keys_fit_a_header(self) -> Self:
        for name, value in self:
            if isinstance(value, SecretStr):
                key = value.get_secret_value()
                if not (key.isascii() and key.isprintable()):
                    raise ValueError(f"{name.upper()} must be one line of ASCII: no header carries anything else")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls, dotenv_settings), dotenv_settings


def fields(kind: type[Settings]) -> dict[str, FieldInfo]:
    """The settings of a kind by the names that people set, in lower case."""
    return {str(field.validation_alias or name): field for name, field in kind.model_fields.items()}


S = TypeVar("S", bound=Settings)


def load_settings(kind: type[S]) -> S:
    """The settings, or one sentence a wrong setting and exit code 2."""
    try:
        check_dotenv(Path(str(kind.model_config["env_file"])))
        return kind()
    except ValueError as exc:
        print(*wrong(exc), sep="\n", file=sys.stderr)
    sys.exit(2)


class CoordinatorSettings(Settings):
    """What the coordinator reads."""

    database_url: str = Field(
        "sqlite:///data/muster.db",
        description="The journal: `sqlite:///file.db` (four slashes: absolute), `postgresql://…` or `memory:` (off).",
    )
    database_password: SecretStr | None = Field(None, description="PostgreSQL's, where `DATABASE_URL` has none.")
    open_url: HttpUrl | None = Field(
        None,
        description="Address that the log says to open at the end of a start; unset: where the coordinator listens.",
    )
    max_concurrent_tasks: Annotated[int, Field(ge=1, le=10_000)] = Field(
        64, description="Tasks that run at once in one coordinator."
    )
    max_queued_tasks: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        1_000, description="Tasks that may wait; further ones get 429 with a `Retry-After`."
    )
    request_timeout: Annotated[float, Field(gt=0, le=86_400)] = Field(
        30.0, description="Seconds a task has when it does not say `timeout_seconds`."
    )
    health_check_interval: Annotated[float, Field(gt=0, le=3_600)] = Field(
        5.0, description="Seconds between two probes of each agent."
    )
    planner: Literal["rules", "model"] = Field(
        "rules", description="How a task without a plan is planned; `model` needs `MODEL_API_URL`."
    )
    worker_key: SecretStr | None = Field(
        None, description="Bearer token that only registers agents and delegates for them; unset: they send `API_KEY`."
    )
    keys_file: Folder | None = Field(
        None, description="File with further keys, their scopes and digests; read again when it changes."
    )
    private_agents: bool = Field(
        True, description="Whether agents may have private and loopback addresses; link-local is never allowed."
    )
    private_webhooks: bool = Field(
        False, description="Whether a task's `webhook_url` may lead to a private or loopback address."
    )
    allowed_hosts: HostNames | None = Field(
        None, description="Extra host names that `/mcp`, and browsers without a key, may use; comma-separated."
    )
    mcp_allowed_hosts: HostNames | None = Field(None, description="The old name of `ALLOWED_HOSTS`; both count.")
    drain_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        30.0, description="Most seconds in which a coordinator ends its tasks before it stops, where others share them."
    )
    history_days: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Days that finished tasks are kept in the journal."
    )
    record: bool = Field(False, description="Whether tasks are recorded, so that each can be replayed: `on` or `off`.")
    record_max_bytes: Annotated[int, Field(ge=1_000_000, le=10**12)] = Field(
        1_000_000_000, description="Total bytes of recordings; those of the oldest tasks are deleted first."
    )
    backup_every: Pause | None = Field(
        None, description="Pause between two backups, in seconds or as `30m`, `6h`, `1d`; unset: none are made."
    )
    backup_keep: Annotated[int, Field(ge=1, le=10_000)] = Field(7, description="Timed backups that are kept.")
    backup_dir: Folder = Field(Path("backups"), description="Folder of the timed backups.")


class WorkerSettings(Settings):
    """What every worker reads."""

    coordinator_url: HttpUrl | None = Field(
        None, description="Where a worker registers, such as `http://127.0.0.1:8000`; unset: it works alone."
    )
    state_dir: Folder | None = Field(None, description="Folder for a worker's own files; unset: `data/<name>-<port>`.")
    max_concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Steps that run at once in one worker; unset: the worker's own default."
    )
    watchdog_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        25.0,
        description="Seconds that a worker may stand still before it ends itself, to be started again; 0: for ever.",
    )


class SearchSettings(Settings):
    """What the researcher reads besides."""

    search_provider: Literal["local", "searxng", "tavily", "brave", "wikipedia"] = Field(
        "local", description="Where the researcher looks."
    )
    knowledge_dir: Folder = Field(Path("docs"), description="Folder of documents for `SEARCH_PROVIDER=local`.")
    search_api_key: SecretStr | None = Field(None, description="Key for `tavily` or `brave`.")
    search_url: str | None = Field(
        None, description="Address of your SearXNG, or another base address for the chosen provider."
    )
    search_results: Annotated[int, Field(ge=1, le=50)] = Field(
        12, description="Most passages that a research step returns."
    )
    search_timeout: Annotated[float, Field(gt=0, le=120)] = Field(
        8.0, description="Seconds one call to a web provider or one page may take."
    )


class SemanticSettings(Settings):
    """What the researcher and the analyzer read that may compare what texts mean."""

    semantic: bool = Field(
        False, description="Whether English texts are also compared by meaning; needs `requirements-semantic.txt`."
    )


class ModelSettings(Settings):
    """What every service reads that may think with a language model."""

    model_api_url: HttpUrl | None = Field(
        None, description="An OpenAI-compatible URL, with or without `/v1`; unset: no model."
    )
    model_name: str | None = Field(
        None,
        description="The model's name; required with `MODEL_API_URL` or `OPENAI_API_KEY`.",
    )
    model_api_key: SecretStr | None = Field(None, description="Bearer token for the model, if it needs one.")
    openai_api_key: SecretStr | None = Field(
        None,
        description="OpenAI's key, used with `MODEL_NAME` when `MODEL_API_URL` is unset; alone it does nothing.",
    )
    model_timeout: Annotated[float, Field(gt=0, le=3_600)] = Field(
        60.0, description="Seconds one call to the model may take; never more than the task has left."
    )
    model_max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Most tokens of one reply; unset: what the step needs, 4096 in a chat.",
    )
    model_temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None,
        description="How freely the model answers; unset: 0.1 for forms and agents that may call, else the server's.",
    )
    model_context: Annotated[int, Field(ge=512, le=100_000_000)] | None = Field(
        None, description="Tokens that the model reads and writes in one call; unset: what its server says."
    )
    model_concurrency: Annotated[int, Field(ge=1, le=1_000)] | None = Field(
        None, description="Parallel calls to the model from one service; unset: 2 to a private address, else 8."
    )
    model_body: dict[str, JsonValue] | None = Field(
        None,
        validation_alias="model_extra",  # that name is Pydantic's own
        description='A JSON object that is added to the body of every call, such as `{"reasoning_effort": "low"}`.',
    )
    tool_call_mode: Literal["auto", "native", "string", "schema"] = Field(
        "auto",
        description="How a model calls tools: `native`, as text (`string`), by a JSON `schema`, or `auto`.",
    )
    debug_mock_responses: str | None = Field(
        None, description="Scripted replies in place of a model: a JSON list, restarted for each request."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.model_api_url is not None and not self.model_name:
            raise ValueError("MODEL_NAME must be set when MODEL_API_URL is")
        return self
