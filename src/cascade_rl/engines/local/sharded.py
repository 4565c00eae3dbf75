"""SFT and reward models larger than one device: FSDP2 over the ranks that torchrun starts.

    torchrun --nproc-per-node 8 --no-python cascade run cascade.yaml --stages sft --output runs/a

The rule: rank 0 runs the cascade as ever, and is alone in touching the disk; the others wait for
what it asks of all (`serve`). Every rank holds a part of weights, gradients and moments, and takes
its share of each update's rows. Rows run padded, through transformers' own forward.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from cascade_rl.config import ChatConfig, LocalConfig, OptimizerConfig
from cascade_rl.digests import TensorDigest
from cascade_rl.engines.local.batches import Row, micro_batches, shards
from cascade_rl.engines.local.model import (
    Model,
    compute_dtype,
    device_of,
    load_model,
    save_tensors,
    tied_weights,
)
from cascade_rl.engines.local.process import Loading
from cascade_rl.engines.local.replica import Objective, Totals, loss_of
from cascade_rl.engines.local.training import make_optimizer, read_optimizer, set_rate
from cascade_rl.errors import ConfigError

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
SPREAD = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
PATIENCE = timedelta(days=30)
"""How long a rank waits for the next thing to do: a benchmark of rank 0 may take hours."""
END = "end"


def world() -> int:
    """Processes that torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this one is; only rank 0 runs the cascade."""
    return int(os.environ.get("RANK", "0"))


@cache
def mesh(kind: str) -> DeviceMesh:
    """All ranks in a row; the first call joins them."""
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    return init_device_mesh(kind, (world(),))


def serve() -> NoReturn:
    """A rank's life but for rank 0's: do what rank 0 asks of all, until it ends, and leave."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 decides when to stop
    part = Rank()
    mesh("cuda" if torch.cuda.is_available() else "cpu")
    while True:
        asked: list[Any] = [None]
        dist.broadcast_object_list(asked, src=0)
        name, arguments = asked[0]
        if name == END:
            dist.destroy_process_group()
            leave(0)
        getattr(part, name)(*arguments)


def end() -> None:
    """Let the other ranks go; rank 0 calls it when the cascade is over."""
    if dist.is_initialized():
        dist.broadcast_object_list([(END, ())], src=0)
        dist.destroy_process_group()
        mesh.cache_clear()


def leave(status: int) -> NoReturn:
    """End this process, a rank, without Python's own end.

    DTensor's caches know the mesh, so the threads of its group live as long as Python does, and
    one that Python's end overtakes while it frees a tensor aborts the process.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Rank:
    """One rank's part of a model that learns. Every method is called on all ranks."""

    model: Model
    _optimizer: torch.optim.Optimizer

    def load(
        self, loading: Loading, local: LocalConfig, config: OptimizerConfig, peak: float
    ) -> None:
        """Read the model, and keep this rank's part of it on its device."""
        if loading.lora is not None:
            raise ConfigError("lora and torchrun do not go together: updates of low rank are small")
        device = device_of(local)
        whole = load_model(
            loading.path, loading.chat, local.model_copy(update={"device": "cpu"}), loading.head
        )
        policy = MixedPrecisionPolicy()
        compute = compute_dtype(local, device)
        if compute != torch.float32:
            policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)
        shared: dict[str, Any] = {"mesh": mesh(device.type), "mp_policy": policy}
        module = whole.module
        for block in _blocks(module):
            fully_shard(block, **shared)
        if loading.head == "scalar":  # trunk and head are called one after the other
            fully_shard(module.base_model, **shared)
            fully_shard(module.score, **shared)
        else:
            fully_shard(module, **shared)
        if device.type == "cuda":
            device = torch.device("cuda", torch.cuda.current_device())
        self.model = replace(whole, device=device, padded=True)
        self._budget = local.micro_batch_tokens
        self._parameters = list(module.parameters())
        self._optimizer = make_optimizer(self._parameters, config, peak)

    def accumulate(self, rows: Sequence[Row], objective: Objective) -> tuple[float, Totals]:
        """The gradient over all rows, of which this rank runs its share: norm and sums."""
        self._optimizer.zero_grad()
        mine = shards(rows, world(), shared=False)[dist.get_rank()]
        batches = micro_batches(mine, self._budget, shared=False)
        rounds = torch.tensor(len(batches))
        dist.all_reduce(rounds, dist.ReduceOp.MAX)
        totals: Totals = {}
        for i in range(int(rounds)):
            real = i < len(batches)  # a rank without rows left still takes part in the exchange
            batch = batches[i] if real else [row for row in rows if row.group == rows[0].group]
            loss, found = loss_of(self.model, batch, objective, shared=False)
            (loss * (world() if real else 0.0)).backward()  # FSDP averages over the ranks
            for name, value in ({"loss": loss.item()} | found).items():
                totals[name] = totals.get(name, 0.0) + (value if real else 0.0)
        return self._norm(), _summed(totals)

    def _norm(self) -> float:
        grads = [p.grad for p in self._parameters if p.grad is not None]
        norm: Any = nn.utils.get_total_norm(grads)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def step(self, rate: float, scale: float) -> None:
        """One optimizer step at this rate on the gradient times `scale`."""
        for parameter in self._parameters:
            if scale != 1.0 and parameter.grad is not None:
                parameter.grad.mul_(scale)
        set_rate(self._optimizer, rate)
        self._optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """All weights by name, sorted, each tied weight once: on rank 0, nothing elsewhere."""
        state: dict[str, Any] = get_model_state_dict(self.model.module, options=WHOLE)
        tied = tied_weights(self.model.module)
        return {name: state[name] for name in sorted(state) if name not in tied}

    def put(self, file: Path) -> None:
        """Weights from a file that rank 0 reads."""
        state: dict[str, Any] = dict(load_file(file)) if dist.get_rank() == 0 else {}
        if state:
            state |= {name: state[of] for name, of in tied_weights(self.model.module).items()}
        set_model_state_dict(self.model.module, state, options=SPREAD)

    def moments(self) -> dict[str, Any]:
        """The optimizer's state, whole: on rank 0, nothing elsewhere."""
        return get_optimizer_state_dict(self.model.module, self._optimizer, options=WHOLE)

    def put_moments(self, file: Path) -> None:
        """Moments from a file that rank 0 reads."""
        state = read_optimizer(file, torch.device("cpu")) if dist.get_rank() == 0 else {}
        set_optimizer_state_dict(
            self.model.module, self._optimizer, optim_state_dict=state, options=SPREAD
        )

    def forget(self) -> None:
        """Free the memory."""
        del self.model, self._optimizer, self._parameters


def _blocks(module: nn.Module) -> list[nn.Module]:
    names = set(getattr(module, "_no_split_modules", None) or ())
    return [part for part in module.modules() if type(part).__name__ in names]


def _summed(totals: Totals) -> Totals:
    """Sums over the ranks, of which some may have had no rows."""
    found: list[Totals] = [{} for _ in range(world())]
    dist.all_gather_object(found, totals)
    names = {name for one in found for name in one}
    return {name: sum(one.get(name, 0.0) for one in found) for name in sorted(names)}


class ShardedTraining:
    """`training.Training` on rank 0: asks all ranks, itself among them."""

    def __init__(
        self, loading: Loading, local: LocalConfig, config: OptimizerConfig, peak: float
    ) -> None:
        self._part = Rank()
        mesh(device_of(local).type)
        self._all("load", loading, local, config, peak)
        self.model = self._part.model

    def _all(self, name: str, *arguments: Any) -> Any:
        dist.broadcast_object_list([(name, arguments)], src=0)
        return getattr(self._part, name)(*arguments)

    def accumulate(
        self, parts: Iterable[Sequence[Row]], objective: Objective
    ) -> tuple[float, Totals]:
        """The gradient over the rows of all parts: its norm, and sums over the rows."""
        rows = list(chain.from_iterable(parts))
        found: tuple[float, Totals] = self._all("accumulate", rows, objective)
        return found

    def step(self, rate: float, scale: float) -> None:
        """One optimizer step at this rate on the gradient times `scale`."""
        self._all("step", rate, scale)

    def save_weights(self, file: Path) -> None:
        """What is trained, for a training checkpoint."""
        tensors = self._all("tensors")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)

    def load_weights(self, file: Path) -> None:
        """Read what `save_weights` wrote."""
        self._all("put", file)

    def save_optimizer(self, file: Path) -> None:
        """Moments and step count."""
        torch.save(self._all("moments"), file)

    def load_optimizer(self, file: Path) -> None:
        """Read what `save_optimizer` wrote, by as many ranks or by others."""
        self._all("put_moments", file)

    def digest(self) -> str:
        """Digest of the weights: that of the directory `export` writes."""
        digest = TensorDigest()
        for name, tensor in self._all("tensors").items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            digest.add(name, dtype, tensor.shape, [tensor.contiguous().numpy().tobytes()])
        return digest.hexdigest()

    def export(self, chat: ChatConfig, path: Path) -> None:
        """Write a Hugging Face directory; training can go on."""
        save_tensors(self.model, self._all("tensors"), chat, path)

    def forget(self) -> None:
        """Free the memory."""
        self._all("forget")
