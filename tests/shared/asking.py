"""Cells that decide once or twice, and what is asked of them over HTTP: why a UE got what it got."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np
import torch
from fastapi import FastAPI
from waiting import PATIENCE_S

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.grammar import GrammarOptions
from policy.leader import Decision
from policy.leader_models.language_model import ModelConfig
from policy.model_kinds import new_model
from policy.model_leader import ModelLeader
from xapp.explain.api import DECISIONS, decision_router
from xapp.http.access import Access
from xapp.http.server import BackgroundServer

ALL = (3, 7, 9)
"""UEs of the cell."""


def model(**options: bool) -> ModelLeader:
    """Random weights: its preferences mean nothing, its probabilities are real."""
    torch.set_num_threads(1)
    size = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48)
    return ModelLeader(new_model("pointer", size, 1), GrammarOptions(**options))


class Gives:
    """A leader that gives every RBG to one UE, without telling any odds."""

    def __init__(self, ue: int) -> None:
        self.name, self._ue = "gives", ue

    def decide(self, states: Sequence[CellState], intents: Any, expired: Any) -> list[Decision]:
        return [
            Decision(
                Allocation(s.ue_ids, np.full(s.num_rbgs, s.ue_ids.index(self._ue), np.int16)), decided_by=self.name
            )
            for s in states
        ]


class Broken:
    name = "broken"

    def decide(self, *_: Any) -> list[Decision]:
        raise RuntimeError("no idea")


class Asking:
    """A cell behind the real server; what is asked of it over HTTP."""

    def __init__(self, cell: Any) -> None:
        self.cell, self.node = cell, cell.node
        app = FastAPI()
        app.add_middleware(Access, token=None)
        app.include_router(decision_router(cell.loop.log))
        self.app = app
        self.server = BackgroundServer(app, "127.0.0.1", 0)
        assert self.server.wait_started()
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE_S)

    def close(self) -> None:
        self.http.close()
        self.server.close()

    def get(self, path: str = "", **asked: Any) -> httpx.Response:
        return self.http.get(f"{DECISIONS}/{path or self.node.cell}", params=asked)

    def document(self, **asked: Any) -> Any:
        answer = self.get(**asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def findings_of(self, ue: int, **asked: Any) -> dict[str, str]:
        """Findings about a UE: text by code."""
        (entry,) = self.document(ue=ue, **asked)["ues"]
        assert entry["ue"] == ue
        return {finding["code"]: finding["text"] for finding in entry["why"]}

    def indication(self, ue_ids: tuple[int, ...] = ALL, **columns: Any) -> Any:
        return self.node.indication(ue_ids, **columns)


Ask = Callable[..., Asking]
"""Makes one, of a leader."""
