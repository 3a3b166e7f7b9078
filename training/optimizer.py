"""torch's AdamW without its compiler of graphs, whose import takes nearly as long as that of torch itself.

torch marks an optimizer's methods as not to be compiled, and imports the compiler at the first call of one of them.
Nothing is compiled here: without their marks the methods compute the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

_STEP = inspect.unwrap(torch.optim.AdamW.step)


class AdamW(torch.optim.AdamW):
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One descent along the gradients that are there."""
        return _STEP(self, closure)
