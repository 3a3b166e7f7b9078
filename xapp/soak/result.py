"""What came of a soak: the ledger, as JSON and as a table. Only what all zeros means is good."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MUST_BE_ZERO = ("violations", "lost_policies", "ues_left_limited", "duplicate_subscriptions", "failed_exits")


@dataclass
class Usage:
    """What a process holds."""

    rss_mb: float
    threads: int
    fds: int


@dataclass
class SoakResult:
    """`violations` by kind; all of MUST_BE_ZERO are."""

    minutes: float
    seed: int
    control: str
    sabotage: str
    faults: Counter[str] = field(default_factory=Counter)
    pdus_tampered_with: int = 0
    controls_judged: int = 0
    decisions: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)
    """Decisions without the model, by reason."""
    violations: Counter[str] = field(default_factory=Counter)
    lost_policies: int = 0
    """Times that an accepted policy was not in force again in time."""
    ues_left_limited: int = 0
    duplicate_subscriptions: int = 0
    failed_exits: int = 0
    """xApps that were asked to end and did not with status 0 in time."""
    recovered_s: float | None = None
    """From the last fault until the model decided again under the policy; None = it never did."""
    found_out_early: bool = False
    """What was sabotaged had been found by the last fault, and nobody waited for the model to decide again."""
    xapp_starts: int = 0
    xapp_most: Usage | None = None
    """The most that any xApp held at once."""
    xapp_growth: Usage | None = None
    """The most that one xApp growth, from its first seconds to its end."""
    alarms_raised: int = 0

    @property
    def is_clean(self) -> bool:
        """Nothing happened that must not, and all came back."""
        return (
            not sum(self.violations.values())
            and self.recovered_s is not None
            and not any(getattr(self, name) for name in MUST_BE_ZERO[1:])
        )

    def to_json(self) -> dict[str, Any]:
        document = {one.name: getattr(self, one.name) for one in fields(self)}
        document |= {name: dict(value) for name, value in document.items() if isinstance(value, Counter)}
        document |= {name: asdict(value) for name, value in document.items() if isinstance(value, Usage)}
        return {**document, "violations": self.violations.total(), "violations_by_kind": dict(+self.violations)}

    def show(self, console: Console) -> None:
        """Print it as a table."""
        table = Table(title="soak" + (f", {self.sabotage} sabotaged" if self.sabotage else ""), show_header=False)
        table.add_row("faults", ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items())))
        table.add_row("PDUs tampered with", str(self.pdus_tampered_with))
        table.add_row("controls judged", str(self.controls_judged))
        table.add_row("decisions", str(self.decisions))
        reasons = ", ".join(f"{name} {count}" for name, count in self.fallbacks.most_common())
        table.add_row("fallbacks", reasons or "none")
        kinds = ", ".join(f"{name} {count}" for name, count in self.violations.most_common() if count)
        table.add_row("violations", kinds or "0")
        for name in MUST_BE_ZERO[1:]:
            table.add_row(name.replace("_", " "), str(getattr(self, name)))
        back = "not waited for" if self.found_out_early else "never"
        if self.recovered_s is not None:
            back = f"{self.recovered_s:.1f} s after the last fault"
        table.add_row("the model decides again", back)
        for what, usage in (("most held by an xApp", self.xapp_most), ("most gained by one", self.xapp_growth)):
            if usage is not None:
                table.add_row(what, f"{usage.rss_mb:.0f} MB, {usage.threads} threads, {usage.fds} descriptors")
        console.print(table)


def usage_of(pid: int) -> Usage | None:
    """None for a process that is gone."""
    try:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        return Usage(int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"]), len(os.listdir(f"/proc/{pid}/fd")))
    except (OSError, KeyError):
        return None


def most(a: Usage | None, b: Usage) -> Usage:
    """The greater of each."""
    return b if a is None else Usage(max(a.rss_mb, b.rss_mb), max(a.threads, b.threads), max(a.fds, b.fds))


def growth(since: Usage, now: Usage) -> Usage:
    return Usage(now.rss_mb - since.rss_mb, now.threads - since.threads, now.fds - since.fds)
