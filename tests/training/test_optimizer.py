"""The optimizer of all trainings: torch's own AdamW, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.adamw import adamw

from training.optimizer import AdamW


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_it_steps_as_torchs_function_does_and_goes_on_from_its_state(weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mine = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (5,))]
    reference = [parameter.detach().clone() for parameter in mine]
    means, squares, steps = (
        [make(parameter) for parameter in reference]
        for make in (torch.zeros_like, torch.zeros_like, lambda _: torch.tensor(0.0))
    )
    settings: dict[str, Any] = {"lr": 0.1, "weight_decay": weight_decay}
    optimizer = AdamW(mine, betas=(0.9, 0.98), **settings)
    for step in range(6):
        if step == 3:
            state = optimizer.state_dict()
            optimizer = AdamW(mine)
            optimizer.load_state_dict(state)
        optimizer.zero_grad(set_to_none=True)
        assert all(parameter.grad is None for parameter in mine)
        loss = torch.stack([parameter.sin().sum() for parameter in mine]).prod()
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in mine if parameter.grad is not None]
        optimizer.step()
        adamw(
            reference, gradients, means, squares, [], steps,
            amsgrad=False, beta1=0.9, beta2=0.98, eps=1e-8, maximize=False, **settings,
        )  # fmt: skip
        assert all(torch.equal(a, b) for a, b in zip(mine, reference, strict=True))
