"""Processes that train together, over accelerate. Only gradients and numbers travel."""

import signal
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import Parameter

from fdfo.errors import PeerError
from fdfo.training.interrupt import Interrupted


def this_team(**options: Any) -> "Team":
    """The processes of this job, as accelerate launch or torchrun started them; options go to the Accelerator."""
    return Team(Accelerator(cpu=not torch.cuda.is_available(), **options))


class Team:
    """This process and its peers; with one process every method is the identity."""

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.size: int = accelerator.num_processes
        self.device: torch.device = accelerator.device
        self.is_main: bool = accelerator.is_main_process

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sum over the processes."""
        if self.size == 1:
            return list(values)
        total = self.accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=self.device), "sum")
        assert isinstance(total, Tensor)
        return total.tolist()

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Rows [n, ...] of all processes in order of rank; n may differ. Returned on the CPU, to every process."""
        if self.size == 1:
            return rows.cpu()
        sizes = [int(n) for n in self._gather(torch.tensor([len(rows)], device=self.device))]
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]), device=self.device)
        padded[: len(rows)] = rows.to(self.device)
        parts = self._gather(padded).split(max(sizes))
        return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)]).cpu()

    def _gather(self, tensor: Tensor) -> Tensor:
        gathered = self.accelerator.gather(tensor)
        assert isinstance(gathered, Tensor)
        return gathered

    def sum_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Add up the gradients of all processes in one message; a missing gradient counts as zero."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.size == 1:
            return
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
        total = self.accelerator.reduce(flat, "sum")
        assert isinstance(total, Tensor)
        for parameter, part in zip(parameters, total.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)

    def raise_together(self, error: Exception | None) -> None:
        """Called by every process at the same point: raise if any of them has an error, so that none waits for one
        that has left. The one with the error raises it; the others raise Interrupted or PeerError."""
        if self.size == 1:
            if error is not None:
                raise error
            return
        failed, interrupted = self.sum([error is not None, isinstance(error, Interrupted)])
        if error is not None:
            raise error
        if interrupted:
            raise Interrupted(signal.SIGTERM)
        if failed:
            raise PeerError("another process failed; its message tells why")

    def wait(self) -> None:
        """Block until every process is here."""
        self.accelerator.wait_for_everyone()
