"""Data parallel training: ranks share an update's worlds, gradients are averaged, rank 0 writes.

    torchrun --nproc-per-node 2 $(which stackmac) train --preset tiny --scenario mix --out DIR

All ranks hold the same weights throughout: they begin with the same and take the same steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta

import torch
from torch import Tensor

PATIENCE = timedelta(hours=12)
"""How long a rank waits for another: for as long as rank 0 may take to make a warm start."""


class Ranks:
    """The processes of a run; alone, everything here does nothing."""

    def __init__(self) -> None:
        """Take size and rank from torchrun's environment; alone without it."""
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.size > 1 else 0
        self._joined = False

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def __enter__(self) -> Ranks:
        if self.size > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo", timeout=PATIENCE)
            self._joined = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._joined:
            torch.distributed.destroy_process_group()
            self._joined = False

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over the ranks."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return [float(value) for value in total]

    def any(self, flag: bool) -> bool:
        return self.sum([float(flag)])[0] > 0

    def gather(self, content: bytes) -> list[bytes]:
        """Everybody's content, in the order of the ranks."""
        if self.size == 1:
            return [content]
        sizes = [int(size) for size in self.sum([len(content) * (self.rank == rank) for rank in range(self.size)])]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        found = [torch.empty_like(padded) for _ in sizes]
        torch.distributed.all_gather(found, padded)
        return [bytes(each[:size].numpy()) for each, size in zip(found, sizes)]

    def share(self, count: int) -> range:
        """Which of `count` things are this rank's: as many as the next one's, or one more."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """A rank whose share of a minibatch is empty has no gradient, which is 0."""
        if self.size == 1:
            return
        with_gradient: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            with_gradient.append(parameter.grad)
        if not with_gradient:
            return
        flat = torch.cat([gradient.detach().reshape(-1).cpu() for gradient in with_gradient])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        first = 0
        for gradient in with_gradient:
            gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
            first += gradient.numel()

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.size > 1:
            torch.distributed.barrier()
