"""Configuration of `stackmac run`: the `controls` section of the xApp descriptor IS this model."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from policy.errors import UserMistake
from policy.grammar import MAX_RBGS
from policy.observation import MEASUREMENTS
from policy.time_scales import LEASE_PERIODS, MAX_PERIOD_MS, MIN_PERIOD_MS
from xapp.config.http_url import is_http_url
from xapp.config.kpi_guard import KpiGuardConfig
from xapp.config.leader_limits import BreakerConfig, LeaderLimits
from xapp.config.mistakes import mistakes_of
from xapp.config.schema_patterns import HttpUrl, HttpUrlOrNone, LeaderName, Network
from xapp.config.slices import SliceId, SliceMembers

NAME = "stackmac"
"""What this project's distribution is called, and its xApp unless the descriptor has another name."""
CONFIG_IN_POD = "/opt/ric/config/config-file.json"
"""Where the generated chart mounts the descriptor."""
KPM_MEASUREMENTS = tuple(MEASUREMENTS)
"""What a decision can use; a subscription asks for those of them that the node's RAN function lists."""
CONTROL_KINDS = ("dcm", "ccc", "rc")
"""What nodes are controlled by; `auto` prefers the first, which says most, and takes what knows slices only where
policies are about slices. Each is a module of xapp.control_kinds, and
named here, because a configuration stands below all that it configures."""
if TYPE_CHECKING:
    ControlName = str  # type checkers take no Literal of names that are looked up
else:
    ControlName = Literal["auto", *CONTROL_KINDS, "none"]

INTENT_TYPE_ID = 20100
"""Of the policy type of our own; a RIC has one namespace of policy types."""
NOMINAL_RBG_SIZES = ((36, 2), (72, 4), (144, 8), (275, 16))
"""Largest bandwidth part, PRB, and its RBG size: TS 38.214 table 5.1.2.2.1-1, configuration 1."""
SILENT_S, SILENT_PERIODS = 5.0, 20
"""A cell, or a subscription, without a report for this long, and for so many periods, is silent."""


def silent_after_s(report_period_ms: float) -> float:
    """How long nothing must be reported until that is called silence."""
    return max(SILENT_S, SILENT_PERIODS * report_period_ms / 1e3)


class ConfigError(UserMistake):
    """A configuration that cannot be used: one line naming the field, its value and what was expected."""


class NoDescriptor(ConfigError):
    """There is nothing to read a configuration from: no file, or one that is no descriptor."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RmrConfig(_Section):
    """This xApp's RMR endpoint. What a variable of the environment says (RMR_*, see docs/rmr.md) wins over these."""

    transport: Literal["auto", "si95", "librmr"] = Field(
        default="auto",
        description="librmr = OSC's C library, si95 = the same wire format in Python, auto = librmr where it loads.",
    )
    bind_host: str = Field(default="0.0.0.0", description="Address to listen on (RMR_BIND_IF wins).")
    port: int = Field(default=4560, ge=0, le=65535, description="RMR data port (0 = any free one).")
    host: str = Field(default="127.0.0.1", description="Host under which peers reach this endpoint (RMR_SRC_ID wins).")
    route_manager: str = Field(
        default="",
        description="Where route tables come from if RMR_RTG_SVC does not say: a port to listen on, host:port to ask,"
        " -1 = only the file RMR_SEED_RT; empty = RMR's own default, port 4561.",
    )
    route_sources: tuple[Network, ...] = Field(
        default=(),
        description="Networks (10.0.0.0/8) that route tables may come from; empty = from everywhere, with an alarm at a"
        " second source. Not with transport librmr, which takes them from everybody.",
    )
    receive_queue: int = Field(
        default=4096, ge=1, le=1_000_000, description="Messages kept before the oldest is dropped."
    )

    @field_validator("route_sources")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ip_network(network, strict=False)
            except ValueError:
                raise ValueError(f"{network!r:.80} is no network, expected ADDRESS/BITS") from None
        return networks


class HttpConfig(_Section):
    """The xApp's HTTP server: health, configuration, metrics, subscription notifications."""

    bind_host: str = Field(default="0.0.0.0", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="HTTP port (0 = any free one).")
    host: str = Field(
        default="",
        description="Host under which the platform reaches it; empty: RMR's host with `rmr` replaced by `http`.",
    )
    token_file: str = Field(
        default="",
        description="File with the bearer token that opens all but health, metrics, configuration and notifications;"
        " empty = none is asked for, and epochs, messages and symptom data are shown on this host only.",
    )


class RicConfig(_Section):
    """Where the platform's services are."""

    submgr_url: HttpUrl = Field(
        default="http://service-ricplt-submgr-http.ricplt:8088", description="Subscription manager."
    )
    e2mgr_url: HttpUrl = Field(
        default="http://service-ricplt-e2mgr-http.ricplt:3800", description="E2 manager (R-NIB)."
    )
    appmgr_url: HttpUrlOrNone = Field(
        default="http://service-ricplt-appmgr-http.ricplt:8080",
        description="Application manager; empty: do not register (routes must come from elsewhere).",
    )
    request_timeout_s: float = Field(default=3.0, gt=0, le=60, description="Time-out of one HTTP request.")
    alarm_message_type: int = Field(
        default=110,
        ge=1,
        le=65_535,
        description="RMR message type of alarms (platforms with alarm-go's newest library: 13111).",
    )
    poll_period_s: float = Field(default=1.0, ge=0.1, le=3600, description="How often E2 nodes are looked up.")

    @field_validator("submgr_url", "e2mgr_url", "appmgr_url")
    @classmethod
    def _can_be_asked(cls, url: str, info: ValidationInfo) -> str:
        if not is_http_url(url) and (url or info.field_name != "appmgr_url"):
            raise ValueError("expected http://HOST:PORT")
        return url


class QuotaConfig(_Section):
    """How allocations become E2SM-RC quotas, for nodes that are controlled that way (docs/rc.md)."""

    min_share_percent: int = Field(
        default=5, ge=0, le=100, description="No decision leaves a UE less of the cell; an operator's cap may."
    )
    smooth_periods: int = Field(default=5, ge=1, le=1000, description="Decisions over which a UE's share is averaged.")
    step_percent: int = Field(default=5, ge=1, le=100, description="A quota that changes by less is not sent.")
    max_controls_per_s: int = Field(default=20, ge=1, le=10_000, description="Quotas sent to one node in any second.")


class NodeConfig(_Section):
    """What E2 does not say about a node. Of several that fit a node's name the first counts."""

    name: str = Field(default="*", min_length=1, description="RAN name; * and ? stand for any characters, any one.")
    dialect: Literal["auto", "standard", "flexric"] = Field(
        default="auto",
        description="How the node writes E2SM-KPM and E2SM-RC: auto = as its first report tells; flexric = with later"
        " fields moved before the extension marker, as only FlexRIC v2.0.0 and older do.",
    )
    kpm_condition: Literal["auto", "octets", "integer"] = Field(
        default="auto",
        description="How a KPM subscription names the slice whose UEs are reported: octets (OpenAirInterface), an"
        " integer (FlexRIC's emulator), auto = by what the node lists; srsRAN and OCUDU take any.",
    )
    slices: tuple[SliceId, ...] = Field(
        default=(),
        description="Slices of the node whose UEs are reported, and that CCC may limit; empty = the one of sst and sd.",
    )
    baseline_from_outcome: bool = Field(
        default=False,
        description="CCC may limit slices without ratios here, too: what they had is in the first answer (its old"
        " values). A slice of a node that does not say it stays as it was then set.",
    )
    plmn: str = Field(
        default="00101", pattern=r"^[0-9]{5,6}$", description="MCC and MNC of the slice in quotas, 5 or 6 digits."
    )
    sst: int = Field(default=1, ge=0, le=255, description="Slice/service type in quotas.")
    sd: str = Field(
        default="", pattern=r"^([0-9a-fA-F]{6})?$", description="Slice differentiator, 6 hex digits; empty = none."
    )
    control: ControlName | None = Field(
        default=None, description="As controls.control, for this node; left out = what that says."
    )
    num_prb: int = Field(default=106, ge=1, le=275, description="PRBs of a cell's uplink, where no DCM function says.")
    rbg_size_prb: Literal[0, 2, 4, 8, 16] = Field(
        default=0, description="PRBs of a resource block group; 0 = as TS 38.214 says for num_prb (configuration 1)."
    )
    cells: tuple[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{15}$")], ...] = Field(
        default=(),
        description="NR-CGIs of a node without DCM function, 15 hex digits each; empty = the node is one cell.",
    )

    @model_validator(mode="after")
    def _few_rbgs(self) -> Self:
        if self.num_rbgs > MAX_RBGS:
            raise ValueError(
                f"num_prb {self.num_prb} in groups of {self.rbg_size_prb} are {self.num_rbgs} RBGs,"
                f" expected at most {MAX_RBGS}"
            )
        return self

    @property
    def plmn_octets(self) -> bytes:
        """The PLMN identity as E2 writes it: 3 octets of digits, an F where the MNC has but two."""
        digits = f"{self.plmn}f"
        return bytes.fromhex("".join(digits[i] for i in (1, 0, 5, 2, 4, 3)))

    @property
    def reported_slices(self) -> tuple[SliceId, ...]:
        """Slices whose UEs are to be reported, at least one."""
        return self.slices or (SliceId(sst=self.sst, sd=self.sd),)

    @property
    def rbg_prb(self) -> int:
        """PRBs of an RBG."""
        return self.rbg_size_prb or next(size for most, size in NOMINAL_RBG_SIZES if self.num_prb <= most)

    @property
    def num_rbgs(self) -> int:
        """RBGs of a cell."""
        return -(-self.num_prb // self.rbg_prb)


class A1Config(_Section):
    """Operators' policies."""

    query_period_s: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="How soon the mediator is asked again for its policies, until one comes; 0 = it is never asked.",
    )
    floor_window_periods: int = Field(
        default=10, ge=1, le=1000, description="Periods over which share floors hold; 1 = in every single one."
    )
    slices: tuple[SliceMembers, ...] = Field(default=(), description="Who is in which slice.")
    target_share_percent: int = Field(
        default=70, ge=0, le=100, description="Of a cell, the most that floors made of throughput targets may claim."
    )
    slice_sla_type_id: int = Field(default=20008, ge=1, le=2**31 - 1, description="The RIC's ORAN_SliceSLATarget.")
    ue_level_type_id: int = Field(default=20101, ge=1, le=2**31 - 1, description="The RIC's ORAN_UELevelTarget.")
    qos_type_id: int = Field(default=20102, ge=1, le=2**31 - 1, description="The RIC's ORAN_QoSTarget.")

    @model_validator(mode="after")
    def _different_types(self) -> Self:
        ids = (self.slice_sla_type_id, self.ue_level_type_id, self.qos_type_id)
        if len({*ids, INTENT_TYPE_ID}) < 4:
            raise ValueError(f"type ids are {ids}, expected three numbers that differ, and from {INTENT_TYPE_ID}")
        return self


class Controls(_Section):
    """Everything that can be set; every field has a safe default."""

    leader: LeaderName = Field(
        default="bundled",
        min_length=1,
        description="bundled, a scheduler, a bundle directory (with a / in it), module:Class.",
    )
    leader_process: bool = Field(
        default=False,
        description="A plug-in (module:Class) decides in a process of its own: its death, or more memory than"
        " leader_limits.memory_mb, costs one period.",
    )
    leader_limits: LeaderLimits = LeaderLimits()
    breaker: BreakerConfig = BreakerConfig()
    kpi_guard: KpiGuardConfig = KpiGuardConfig()
    missed_beats: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Beats of the pacer, one a period or second, after which another thread releases its cells.",
    )
    report_period_ms: int = Field(
        default=100, ge=MIN_PERIOD_MS, le=MAX_PERIOD_MS, description="E2 report period; one decision per report."
    )
    decision_deadline_ms: float | None = Field(
        default=None,
        gt=0,
        le=MAX_PERIOD_MS,
        description="Past this the classical schedule is sent; default 80 % of the period.",
    )
    coalesce_ms: float = Field(
        default=2.0, ge=0, le=100, description="Cells whose reports arrive this close share a batch."
    )
    lease_periods: int = Field(
        default=LEASE_PERIODS,
        ge=1,
        le=100,
        description="Periods after a report until which its control holds; then the node takes its MAC back.",
    )
    stale_after_periods: float = Field(default=3.0, ge=1, le=100, description="Silence after which a cell is released.")
    torch_threads: int = Field(default=1, ge=1, le=64, description="CPU threads of the model.")
    measurements: tuple[str, ...] = Field(
        default=KPM_MEASUREMENTS, min_length=1, description="E2SM-KPM measurements wanted."
    )
    control: ControlName = Field(
        default="auto",
        description="Service model that nodes are controlled by; auto = the first of "
        f"{', '.join(CONTROL_KINDS)} that a node offers, ccc where policies are about slices; none = they are only"
        " watched.",
    )
    quota: QuotaConfig = QuotaConfig()
    nodes: tuple[NodeConfig, ...] = Field(default=(), description="What E2 does not say about nodes.")
    only_listed_nodes: bool = Field(
        default=False,
        description="Only nodes that an entry of `nodes` fits are subscribed to and controlled: several releases, each"
        " with a name of its own, share the nodes out. Shared data are kept under that name, but for policies, which"
        " all have in common.",
    )
    rmr: RmrConfig = RmrConfig()
    http: HttpConfig = HttpConfig()
    ric: RicConfig = RicConfig()
    a1: A1Config = A1Config()
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="json: as the platform's mdclog writes; text: for people; auto: text on a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least serious messages on standard error."
    )

    @property
    def deadline_ms(self) -> float:
        """The decision deadline in force, ms."""
        return self.decision_deadline_ms if self.decision_deadline_ms is not None else 0.8 * self.report_period_ms

    @property
    def beat_s(self) -> float:
        """The longest pause of the pacer between two looks at what it has to do."""
        return min(1.0, self.report_period_ms / 1e3)

    @property
    def beat_limit_s(self) -> float:
        """The longest time between two beats of a pacer that works."""
        return self.missed_beats * self.beat_s + self.deadline_ms / 1e3

    def node(self, name: str) -> NodeConfig:
        """The settings of the node with this RAN name; the defaults where none fit."""
        return next((node for node in self.nodes if fnmatchcase(name, node.name)), NodeConfig())

    def is_ours(self, name: str) -> bool:
        """Whether the node with this RAN name is this release's business."""
        return not self.only_listed_nodes or any(fnmatchcase(name, node.name) for node in self.nodes)

    def control_of(self, name: str) -> str:
        """The service model by which the node with this RAN name is controlled: auto, none, or one of CONTROL_KINDS."""
        return self.node(name).control or self.control


def parse_controls(controls: object) -> Controls:
    """Validate a `controls` section. Raises ConfigError with one line for all that is wrong."""
    try:
        return Controls.model_validate(controls)
    except ValidationError as error:
        raise ConfigError("; ".join(mistakes_of(error, Controls, whole="", prefix="controls"))) from None


def read_descriptor(path: Path) -> bytes:
    """The text of the descriptor at `path`. Raises NoDescriptor."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NoDescriptor(f"cannot read the configuration {path}: {error.strerror}") from None


def parse_descriptor(content: bytes, path: Path) -> dict[str, Any]:
    """An xApp descriptor with a `controls` section, not validated. Raises NoDescriptor naming `path`."""
    try:
        descriptor = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NoDescriptor(f"{path} is not JSON: {error}") from None
    if not isinstance(descriptor, dict) or "controls" not in descriptor:
        raise NoDescriptor(f"{path} has no `controls` section: expected an xApp descriptor")
    return descriptor


def load_controls(path: Path) -> Controls:
    """Read the xApp descriptor at `path` and validate its `controls`."""
    return parse_controls(parse_descriptor(read_descriptor(path), path)["controls"])


def controls_schema() -> dict[str, Any]:
    """JSON schema of the `controls` section (descriptors/schema.json is generated from it)."""
    return Controls.model_json_schema()
