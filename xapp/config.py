"""Configuration of `stackmac run`: the `controls` section of the xApp descriptor IS this model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

KPM_MEASUREMENTS = (
    "DRB.UEThpUl",
    "RRU.PrbTotUl",
    "RRU.PrbUsedUl",
    "DRB.AirIfDelayUl",
    "DRB.RlcSduTransmittedVolumeUL",
    "CQI",
)
"""What a decision can use; a subscription asks for those of them that the node's RAN function lists."""


class ConfigError(ValueError):
    """A configuration that cannot be used: one line naming the field, its value and what was expected."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RmrConfig(_Section):
    """This xApp's RMR endpoint. What a variable of the environment says (RMR_*, see docs/rmr.md) wins over these."""

    bind_host: str = Field(default="0.0.0.0", description="Address to listen on (RMR_BIND_IF wins).")
    port: int = Field(default=4560, ge=0, le=65535, description="RMR data port (0 = any free one).")
    host: str = Field(default="127.0.0.1", description="Host under which peers reach this endpoint (RMR_SRC_ID wins).")
    route_manager: str = Field(
        default="",
        description="Where route tables come from if RMR_RTG_SVC does not say: a port to listen on, host:port to ask,"
        " -1 = only the file RMR_SEED_RT; empty = RMR's own default, port 4561.",
    )
    receive_queue: int = Field(
        default=4096, ge=1, le=1_000_000, description="Messages kept before the oldest is dropped."
    )


class HttpConfig(_Section):
    """The xApp's HTTP server: health, configuration, metrics, subscription notifications."""

    bind_host: str = Field(default="0.0.0.0", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="HTTP port (0 = any free one).")
    host: str = Field(
        default="",
        description="Host under which the platform reaches it; empty: RMR's host with `rmr` replaced by `http`.",
    )


class RicConfig(_Section):
    """Where the platform's services are."""

    submgr_url: str = Field(
        default="http://service-ricplt-submgr-http.ricplt:8088", description="Subscription manager."
    )
    e2mgr_url: str = Field(default="http://service-ricplt-e2mgr-http.ricplt:3800", description="E2 manager (R-NIB).")
    appmgr_url: str = Field(
        default="http://service-ricplt-appmgr-http.ricplt:8080",
        description="Application manager; empty: do not register (routes must come from elsewhere).",
    )
    request_timeout_s: float = Field(default=3.0, gt=0, le=60, description="Time-out of one HTTP request.")
    poll_period_s: float = Field(default=1.0, ge=0.1, le=3600, description="How often E2 nodes are looked up.")


class Controls(_Section):
    """Everything that can be set; every field has a safe default."""

    leader: str = Field(
        default="bundled", min_length=1, description="bundled, a scheduler, a bundle directory, module:Class."
    )
    report_period_ms: int = Field(
        default=100, ge=10, le=10_240, description="E2 report period; one decision per report."
    )
    decision_deadline_ms: float | None = Field(
        default=None,
        gt=0,
        le=10_240,
        description="Past this the classical schedule is sent; default 80 % of the period.",
    )
    coalesce_ms: float = Field(
        default=2.0, ge=0, le=100, description="Cells whose reports arrive this close share a batch."
    )
    lease_periods: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Periods after a report until which its control holds; then the node takes its MAC back.",
    )
    stale_after_periods: float = Field(default=3.0, ge=1, le=100, description="Silence after which a cell is released.")
    torch_threads: int = Field(default=1, ge=1, le=64, description="CPU threads of the model.")
    measurements: tuple[str, ...] = Field(
        default=KPM_MEASUREMENTS, min_length=1, description="E2SM-KPM measurements wanted."
    )
    rmr: RmrConfig = RmrConfig()
    http: HttpConfig = HttpConfig()
    ric: RicConfig = RicConfig()
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least serious messages on standard error."
    )

    @property
    def deadline_ms(self) -> float:
        """The decision deadline in force, ms."""
        return self.decision_deadline_ms if self.decision_deadline_ms is not None else 0.8 * self.report_period_ms


def parse_controls(controls: object) -> Controls:
    """Validate a `controls` section. Raises ConfigError with one line for the first thing that is wrong."""
    try:
        return Controls.model_validate(controls)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(("controls", *map(str, first["loc"])))
        raise ConfigError(f"{field} is {_shown(first['input'])}: {first['msg']}") from None


def read_descriptor(path: Path) -> bytes:
    """The text of the descriptor at `path`. Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error}") from None


def parse_descriptor(content: bytes, path: Path) -> dict[str, Any]:
    """An xApp descriptor with a `controls` section, not validated. Raises ConfigError naming `path`."""
    try:
        descriptor = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(descriptor, dict) or "controls" not in descriptor:
        raise ConfigError(f"{path} has no `controls` section: expected an xApp descriptor")
    return descriptor


def load_controls(path: Path) -> Controls:
    """Read the xApp descriptor at `path` and validate its `controls`."""
    return parse_controls(parse_descriptor(read_descriptor(path), path)["controls"])


def controls_schema() -> dict[str, Any]:
    """JSON schema of the `controls` section (descriptors/schema.json is generated from it)."""
    return Controls.model_json_schema()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
