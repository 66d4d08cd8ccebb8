"""Which model the settings name, where it lives, and what is missing to name one."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.settings import ModelSettings

OPENAI_URL = "https://api.openai.com/v1"
PLACES_LOCAL, PLACES_HOSTED = 2, 8  # calls at once where MODEL_CONCURRENCY says nothing
_VERSION = re.compile(r"v\d+[a-z0-9]*\Z")
_LOCAL_NAMES = (".local", ".lan", ".internal", ".localhost", ".home.arpa")


@dataclass(frozen=True)
class Chosen:
    """A model's address, with a version in its path, its name and its key."""

    url: str
    name: str
    key: str | None
    places: int

    @property
    def local(self) -> bool:
        """Whether it runs on machines of one's own."""
        return is_local(self.url)


def choose_model(settings: ModelSettings) -> Chosen | None:
    """The model that is to be asked; None where the settings name none.

    OpenAI's key is sent to OpenAI alone, and only where MODEL_NAME says that a model is wanted.
    """
    openai = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    given = settings.model_api_url or (OPENAI_URL if openai and settings.model_name else None)
    if given is None or not settings.model_name:
        return None
    url = base_url(given)
    key = settings.model_api_key.get_secret_value() if settings.model_api_key else None
    if key is None and urlsplit(url).hostname == urlsplit(OPENAI_URL).hostname:
        key = openai
    places = settings.model_concurrency or (PLACES_LOCAL if is_local(url) else PLACES_HOSTED)
    return Chosen(url, settings.model_name, key, places)


def wants_model(settings: ModelSettings) -> bool:
    """Whether the settings name a model, or a script in its place. Cheap: no library is loaded for it."""
    return settings.debug_mock_responses is not None or choose_model(settings) is not None


def lacking(settings: ModelSettings) -> str:
    """What to set, where some settings speak of a model and none is named; else empty."""
    if wants_model(settings):
        return ""
    if settings.openai_api_key and not settings.model_name:
        return "OPENAI_API_KEY is set, but is not used: set MODEL_NAME too, to use one of OpenAI's models."
    if settings.model_name:
        return "MODEL_NAME is set, but no server: set MODEL_API_URL, or OPENAI_API_KEY for OpenAI."
    if settings.model_api_key:
        return "MODEL_API_KEY is set, but no model: set MODEL_API_URL and MODEL_NAME."
    return ""


def base_url(url: str) -> str:
    """The URL that `/chat/completions` is appended to: with a version in its path, `/v1` where there is none."""
    url = url.rstrip("/")
    if any(_VERSION.match(part) for part in urlsplit(url).path.split("/")):
        return url
    return f"{url}/v1"


def is_local(url: str) -> bool:
    """Whether a URL leads to this machine or its network, as far as its host tells."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)
    return address.is_private or address.is_loopback
