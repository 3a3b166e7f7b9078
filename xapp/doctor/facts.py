"""What the doctor asks, and the answers. It may block for a time-out; nothing raises for a bad answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from policy.errors import UserMistake
from xapp.config.live import descriptor_path
from xapp.config.model import ConfigError, Controls, NoDescriptor, load_controls
from xapp.http.rest_client import RestClient, RestError
from xapp.http.token_file import read_token
from xapp.ric.appmgr import registered_names
from xapp.ric.sdl import SharedStore

Value = TypeVar("Value")

NOT_ASKED = "not asked"
NOT_WANTED = "not wanted: controls.ric.appmgr_url is empty"
DEFAULT_TIMEOUT_S = 3.0
PROBE_KEY = "doctor"
"""Written and deleted in the xApp's own namespace: a store that only answers reads is no use."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[Value]):
    """An answer, or in one line why there is none."""

    value: Value | None = None
    error: str = ""

    @property
    def there(self) -> bool:
        return not self.error


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the checks judge."""

    controls: Answer[Controls]
    url: str
    """Where the xApp was asked."""
    has_descriptor: bool = True
    """False: the configuration is not wrong, there is none."""
    ready: Answer[str] = Answer(error=NOT_ASKED)
    """"" = ready, else why it is not."""
    before: Answer[dict[str, Any]] = Answer(error=NOT_ASKED)
    """The xApp's status ..."""
    after: Answer[dict[str, Any]] = Answer(error=NOT_ASKED)
    """... and again, `seconds` later."""
    seconds: float = 0.0
    submgr: Answer[list[dict[str, Any]]] = Answer(error=NOT_ASKED)
    """The subscriptions that it holds."""
    e2mgr: Answer[list[str]] = Answer(error=NOT_ASKED)
    """Nodes by name."""
    policies: Answer[list[dict[str, Any]]] = Answer(error=NOT_ASKED)
    """What the xApp says of its A1 policies."""
    appmgr: Answer[list[str]] = Answer(error=NOT_ASKED)
    """Instance names of the registered xApps."""
    shared: Answer[bool] = Answer(error=NOT_ASKED)
    """Whether shared data are in Redis; an error: it does not answer."""
    leader_error: str = ""
    """Why the leader cannot be loaded; tried only where no xApp answers, since one that does has loaded it."""
    environment: Mapping[str, str] = field(default_factory=dict)


def gather(
    config: Path | None,
    url: str,
    *,
    seconds: float,
    token: str = "",
    on_progress: Callable[[str], None] = lambda what: None,
) -> Facts:
    """Ask everybody. config: the descriptor, None = where the xApp looks for it. url: of the xApp's HTTP server, "" =
    on this host at the configured port. token: what opens it, "" = the one in the file that the configuration names, if
    it can be read here.
    """
    environment = dict(os.environ)
    try:
        controls = load_controls(descriptor_path(config))
    except ConfigError as error:
        return _without_configuration(error, url, environment, seconds, token)
    token = token or _configured_token(controls)
    url = url or f"http://127.0.0.1:{controls.http.port}"
    timeout_s = controls.ric.request_timeout_s
    on_progress(f"the xApp at {url}")
    xapp = RestClient("the xApp", url, timeout_s=timeout_s, token=token)
    ready = _asked(lambda: _readiness(xapp))
    before = _asked(lambda: _object(xapp, "ric", "v1", "status"))
    asked_s = time.monotonic()
    on_progress("the subscription manager")
    submgr = _asked(lambda: _subscriptions(controls.ric.submgr_url, timeout_s))
    on_progress("the E2 manager")
    e2mgr = _asked(lambda: _node_names(controls.ric.e2mgr_url, timeout_s))
    on_progress("appmgr")
    appmgr_url = controls.ric.appmgr_url
    appmgr = _asked(lambda: _registered(appmgr_url, timeout_s)) if appmgr_url else Answer(error=NOT_WANTED)
    on_progress("shared data")
    shared = _asked(_store)
    if before.there:
        on_progress(f"what changes within {seconds:g} s")
        time.sleep(max(0.0, seconds - (time.monotonic() - asked_s)))
    after = _asked(lambda: _object(xapp, "ric", "v1", "status"))
    policies = _asked(lambda: _entries(xapp, "ric", "v1", "policies"))
    return Facts(
        Answer(controls),
        url,
        ready=ready,
        before=before,
        after=after,
        seconds=time.monotonic() - asked_s,
        submgr=submgr,
        e2mgr=e2mgr,
        policies=policies,
        appmgr=appmgr,
        shared=shared,
        leader_error="" if before.there else _leader_error(controls),
        environment=environment,
    )


def _configured_token(controls: Controls) -> str:
    """ "" where there is none to be read: without it the xApp says what is wrong."""
    path = controls.http.token_file
    try:
        return read_token("controls.http.token_file", Path(path)) if path else ""
    except UserMistake:
        return ""


def _without_configuration(
    error: ConfigError, url: str, environment: Mapping[str, str], seconds: float, token: str
) -> Facts:
    """A running xApp may still be asked, where somebody said where it is."""
    nothing = Facts(
        Answer(error=str(error)), url, has_descriptor=not isinstance(error, NoDescriptor), environment=environment
    )
    if not url:
        return nothing
    xapp = RestClient("the xApp", url, timeout_s=DEFAULT_TIMEOUT_S, token=token)
    before = _asked(lambda: _object(xapp, "ric", "v1", "status"))
    time.sleep(seconds if before.there else 0.0)
    after = _asked(lambda: _object(xapp, "ric", "v1", "status"))
    return replace(nothing, before=before, after=after, seconds=seconds)


def _leader_error(controls: Controls) -> str:
    from policy.registry import LeaderError, check_leader

    try:
        check_leader(controls.leader)
    except LeaderError as error:
        return f"controls.leader: {error}"
    return ""


def _asked(ask: Callable[[], Value]) -> Answer[Value]:
    try:
        return Answer(ask())
    except RestError as error:
        return Answer(error=str(error))


def _readiness(xapp: RestClient) -> str:
    answer = xapp.request("GET", "ric", "v1", "health", "ready")
    if answer.status == 200:
        return ""
    body = answer.json()
    return str(body.get("status", answer.status)) if isinstance(body, dict) else str(answer.status)


def _object(client: RestClient, *path: str) -> dict[str, Any]:
    answer = client.request("GET", *path)
    body = answer.json()
    if answer.status != 200 or not isinstance(body, dict):
        raise RestError(f"{client.service}: {'/'.join(path)} answers {answer.status}{_reason(body)}")
    return body


def _reason(body: Any) -> str:
    """Of the xApp, which says why it does not answer."""
    return f": {str(body['detail'])[:200]}" if isinstance(body, dict) and "detail" in body else ""


def _list(service: str, url: str, timeout_s: float, *path: str) -> list[Any]:
    return _entries(RestClient(service, url, timeout_s=timeout_s), *path)


def _entries(client: RestClient, *path: str) -> list[Any]:
    answer = client.request("GET", *path)
    body = answer.json()
    if answer.status != 200 or not isinstance(body, list | type(None)):
        raise RestError(f"{client.service}: {'/'.join(path)} answers {answer.status}{_reason(body)}")
    return body or []  # Go writes an empty list as null


def _subscriptions(url: str, timeout_s: float) -> list[dict[str, Any]]:
    entries = _list("submgr", url, timeout_s, "ric", "v1", "subscriptions")
    return [entry for entry in entries if isinstance(entry, dict)]


def _node_names(url: str, timeout_s: float) -> list[str]:
    entries = _list("e2mgr", url, timeout_s, "v1", "nodeb", "states")
    return [str(entry.get("inventoryName", "")) for entry in entries if isinstance(entry, dict)]


def _registered(url: str, timeout_s: float) -> list[str]:
    client = RestClient("appmgr", url, timeout_s=timeout_s)
    return sorted({instance for _, instance in registered_names(client)})


def _store() -> bool:
    store = SharedStore()
    try:
        written = store.set(PROBE_KEY, "asked")
        read = store.get(PROBE_KEY) if written else None
        if not written or read != "asked" or not store.delete(PROBE_KEY):
            raise RestError("SDL: a value written does not come back")
        return store.is_shared
    finally:
        store.close()
