"""What the UEs of one traffic class send."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from policy.cell_state import TrafficClass

KNOB = {"knob": True}
"""Metadata of a field that came later: at its default it leaves hashes as they were before there was such a field."""


def resolved(config: Any) -> dict[str, Any]:
    """A frozen config as a dict for its hash, nested ones too, without knobs that stand at their default."""
    plain: dict[str, Any] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        if entry.metadata.get("knob") and value == entry.default:
            continue
        if isinstance(value, tuple):
            value = [resolved(item) if hasattr(item, "__dataclass_fields__") else item for item in value]
        plain[entry.name] = value
    return plain


@dataclass(frozen=True, slots=True)
class TrafficProfile:
    """What the UEs of one traffic class send: on/off bursts of packets, one packet a period, or all that fits.

    On/off with the defaults of p_on and p_off is always on: Poisson.
    """

    traffic_class: TrafficClass
    ue_share: float
    """Share of the cell's UEs that are of this class; the scenario's profiles add up to 1."""
    deadline_slots: int
    """A packet has this many slots to get through, then it is dropped. Means nothing with a full buffer."""
    packet_bits: float = 1000.0
    load_share: float = 0.0
    """On/off: share of the cell's load that this class offers, split evenly over its UEs."""
    ue_bits_per_slot: float = 0.0
    """On/off, instead of load_share: what one UE offers on average while active, bits a slot."""
    p_on: float = 1.0
    """On/off: probability per slot that a silent UE starts a burst. While on, packets are Poisson."""
    p_off: float = 0.0
    """On/off: probability per slot that a burst ends."""
    period_slots: tuple[int, int] = (0, 0)
    """Periodic: each UE draws its period from this range (both ends included); (0, 0) = on/off traffic."""
    active_slots: float = 0.0
    """Mean length of the times in which the UE sends at all; 0 = always."""
    dormant_slots: float = 0.0
    """Mean length of the times between them."""
    jitter_slots: int = field(default=0, metadata=KNOB)
    """Periodic: a packet comes up to so many slots before or after its time, uniformly."""
    full_buffer: bool = field(default=False, metadata=KNOB)
    """Instead of bursts and periods: whatever was sent is there again in the next slot; nothing is ever dropped."""

    def __post_init__(self) -> None:
        name = self.traffic_class.name
        sources = (self.load_share > 0) + (self.ue_bits_per_slot > 0) + (self.period_slots[0] > 0) + self.full_buffer
        if sources != 1:
            raise ValueError(f"{name}: expected one of load_share, ue_bits_per_slot, period_slots, full_buffer")
        if self.deadline_slots < 1:
            raise ValueError(f"{name}: deadline_slots is {self.deadline_slots}, expected >= 1")
        if not 0 < self.p_on <= 1 or not 0 <= self.p_off <= 1:
            raise ValueError(f"{name}: p_on {self.p_on}, p_off {self.p_off} are no probabilities")
        if self.period_slots[0] > self.period_slots[1]:
            raise ValueError(f"{name}: period_slots {self.period_slots} is no range")
        most = max(0, (self.period_slots[0] - 1) // 2)
        if not 0 <= self.jitter_slots <= most:
            raise ValueError(
                f"{name}: jitter_slots is {self.jitter_slots}, expected 0 to {most}, less than half a period"
            )

    @property
    def duty(self) -> float:
        """Share of slots in which an on/off source is on."""
        return self.p_on / (self.p_on + self.p_off)
