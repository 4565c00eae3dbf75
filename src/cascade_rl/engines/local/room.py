"""Whether a stage fits this machine, said before anything is loaded.

Weights, gradient and AdamW's two moments are counted, exactly; activations depend on
`local.micro_batch_tokens` and are not. A machine with swap would go on at a crawl, and one without
is killed with nothing said.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

import psutil
import torch
from safetensors import safe_open

from cascade_rl.config import LoRAConfig, OptimizerConfig
from cascade_rl.errors import ConfigError

FLOAT = 4
INT8_MOMENTS = 2.1
"""Bytes a weight of both moments in int8, the scales of their blocks included."""


def weights_in(path: Path) -> int:
    """Scalars in the safetensors files of a model directory, read from their headers."""
    found = 0
    for file in sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            names = tensors.keys()
            found += sum(prod(tensors.get_slice(name).get_shape()) for name in names)
    return found


def bytes_to_train(weights: int, optimizer: OptimizerConfig, lora: LoRAConfig | None) -> int:
    """What training that many weights takes, without activations."""
    if lora is not None:
        return 2 * FLOAT * weights  # and once more with the updates added, while a batch runs
    moments = INT8_MOMENTS if optimizer.moments == "int8" else 2 * FLOAT
    return int(weights * (2 * FLOAT + moments))


def refuse_what_does_not_fit(
    path: Path,
    device: torch.device,
    optimizer: OptimizerConfig,
    lora: LoRAConfig | None,
    ranks: int = 1,
) -> None:
    """Raise ConfigError where the stage needs more memory than there is, with the ways out.

    `ranks` processes share it out, each with a GPU of its own.
    """
    need = bytes_to_train(weights_in(path), optimizer, lora)
    if device.type == "cuda":
        need = -(-need // ranks)
    if device.type == "cuda":
        there = int(torch.cuda.mem_get_info(device)[0])
    else:
        there = int(psutil.virtual_memory().available)
    if need <= there:
        return
    ways = [] if lora else ["train low-rank updates:  --set STAGE.lora.rank=16"]
    if not lora and optimizer.moments == "float32":
        ways.append("keep moments in 8 bits:  --set STAGE.optimizer.moments=int8")
    raise ConfigError(
        f"{path} takes {need / 1e9:.1f} GB to train, without activations; "
        f"this {'GPU' if device.type == 'cuda' else 'machine'} has {there / 1e9:.1f} GB free",
        hint="\n".join([*ways, "or train it on more devices:  engine: verl"]),
    )
