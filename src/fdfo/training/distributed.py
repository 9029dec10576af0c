"""Processes that train together, over accelerate. Only gradients and numbers travel.

Every message is counted, and bounded in time: a process that is gone ends the job instead of stopping it.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor
from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]
from torch.nn import Parameter

from fdfo.config.tree import TrainConfig
from fdfo.errors import LostPeerError, PeerError
from fdfo.training.interrupt import Interrupted

BUCKET_BYTES = 64 * 2**20
"""Most bytes of gradients in one message, unless a single one is larger; their copy takes so much memory."""


def this_team(timeout_s: float = TrainConfig().collective_timeout_s, **options: Any) -> "Team":
    """The processes of this job, as accelerate launch or torchrun started them; options go to the Accelerator.

    timeout_s bounds every wait for a peer.
    """
    bound = InitProcessGroupKwargs(timeout=timedelta(seconds=timeout_s))
    team = Team(Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[bound], **options))
    global _this_start
    _this_start = str(int(team.sum([os.getpid()])[0]))
    return team


@dataclass
class Traffic:
    """Traffic between the processes, as this one measures it."""

    bytes_exchanged: int = 0
    """Handed to collective operations; a ring then carries about twice as many over every link."""
    waited_s: float = 0.0
    """Seconds inside them: the transfer, and waiting for slower peers."""


class Team:
    """This process and its peers; with one process every method is the identity.

    With several, each raises LostPeerError when a peer is gone, or does not answer within the time-out.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.size: int = accelerator.num_processes
        self.device: torch.device = accelerator.device
        self.is_main: bool = accelerator.is_main_process
        self._traffic = Traffic()

    def take_traffic(self) -> Traffic:
        """Return the traffic since the last call."""
        taken, self._traffic = self._traffic, Traffic()
        return taken

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sum over the processes."""
        if self.size == 1:
            return list(values)
        return self._reduce(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist()

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Rows [n, ...] of all processes in order of rank; n may differ. Returned on the CPU, to every process."""
        if self.size == 1:
            return rows.cpu()
        sizes = [int(n) for n in self._gather(torch.tensor([len(rows)], device=self.device))]
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]), device=self.device)
        padded[: len(rows)] = rows.to(self.device)
        if not padded.numel():  # rows of nothing, or none anywhere: not every backend can send that
            return rows.new_zeros((sum(sizes), *rows.shape[1:]), device="cpu")
        parts = self._gather(padded).split(max(sizes))
        return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)]).cpu()

    def sum_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Add up the gradients of all processes, in place; a missing gradient counts as zero."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.size == 1:
            return
        for gradients in buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
            total = self._reduce(torch.cat([gradient.flatten() for gradient in gradients]))
            for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def raise_together(self, error: Exception | None) -> None:
        """Called by every process at the same point: raise if any of them has an error, so that none waits for one
        that has left. The first process with one raises it; the others raise Interrupted or PeerError."""
        if self.size == 1:
            if error is not None:
                raise error
            return
        own = 0 if error is None else 1 + isinstance(error, Interrupted)
        try:
            states = self._gather(torch.tensor([own], device=self.device)).tolist()
        except LostPeerError:
            if error is not None:
                raise error from None
            raise
        if not any(states):
            return
        first = next((rank for rank, state in enumerate(states) if state == 1), None)
        if first is None:
            raise error or Interrupted(signal.SIGTERM)
        if first == self.rank and error is not None:
            raise error
        raise PeerError(f"process {first} failed; its message tells why")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block in every process by itself; if it fails or is interrupted in one of them, all raise."""
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        self.raise_together(failure)

    def wait(self) -> None:
        """Block until every process is here."""
        with self._exchange(0):
            self.accelerator.wait_for_everyone()

    # ---- messages ----

    def _reduce(self, tensor: Tensor) -> Tensor:
        with self._exchange(tensor.nbytes):
            total = self.accelerator.reduce(tensor, "sum")
        assert isinstance(total, Tensor)
        return total

    def _gather(self, tensor: Tensor) -> Tensor:
        with self._exchange(tensor.nbytes):
            gathered = self.accelerator.gather(tensor)
        assert isinstance(gathered, Tensor)
        return gathered

    @contextmanager
    def _exchange(self, size: int) -> Iterator[None]:
        """Around a collective operation with `size` bytes of this process."""
        self._traffic.bytes_exchanged += size
        self._synchronize()
        start = time.monotonic()
        try:
            yield
            self._synchronize()
        except RuntimeError as error:
            if self.size == 1 or not _is_of_peers(error):
                raise
            after = time.monotonic() - start
            raise LostPeerError(
                f"lost contact with another process, {after:.0f} s into waiting for it. If it was ended from outside "
                "(its machine, memory, a scheduler), start all of them again with the same --run folder; if it was "
                "only slow, raise train.collective_timeout_s"
            ) from error
        finally:
            self._traffic.waited_s += time.monotonic() - start

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _is_of_peers(error: RuntimeError) -> bool:
    """Whether torch.distributed raised it, for a closed connection or a time-out; gloo has no kind of its own."""
    words = ("gloo", "nccl", "connection", "peer", "timed out", "timeout", "socket")
    return isinstance(error, DistError) or any(word in str(error).lower() for word in words)


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in order, in runs of at most BUCKET_BYTES; the same for the same shapes. One that is larger is alone."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(held.nbytes for held in bucket) + tensor.nbytes > BUCKET_BYTES:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


_this_start = ""
"""Of the processes that met last, the same in all of them; torchrun counts only those restarts that errors cause."""

STORE_TIMEOUT_S = 5.0
"""How long to wait for the store of the job, which may be on the machine that was lost."""


def is_first_to_tell() -> bool:
    """Whether no other process of this job has claimed to tell what ended it; True where they cannot be asked.

    Asks the store through which torchrun and accelerate launch make the processes meet.
    """
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if os.environ.get("WORLD_SIZE", "1") == "1" or host is None or port is None:
        return True
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    bound = timedelta(seconds=STORE_TIMEOUT_S)
    try:
        store = TCPStore(host, int(port), is_master=False, wait_for_workers=False, timeout=bound)
        return store.add(f"fdfo/told/{attempt}/{_this_start}", 1) == 1
    except RuntimeError:
        return True
