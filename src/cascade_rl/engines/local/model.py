"""A Hugging Face model directory in and out of memory: fp32 masters, tokenizer, digest.

The rule: weights are held in float32 whatever they were stored in, and written back in
float32, so a chain of stages never rounds. A lower compute dtype is autocast around the
forward pass only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from cascade_rl.chat import HFTokenizer, jinja_template
from cascade_rl.config import ChatConfig, LocalConfig, LoRAConfig
from cascade_rl.digests import TensorDigest
from cascade_rl.engines.local.llama import is_llama, weight_of
from cascade_rl.errors import CheckpointError, ConfigError

Head = Literal["language", "scalar"]
DEFAULT_CHAT = ChatConfig()
transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Model:
    """A module on its device, its tokenizer, and the dtype of its forward pass.

    `recompute` trades activations for a second forward pass (`local.gradient_checkpointing`).
    `padded` keeps a model that could be written out on transformers' own forward.
    """

    module: Any
    tokenizer: Any
    device: torch.device
    compute: torch.dtype
    recompute: bool = False
    padded: bool = False

    @property
    def written_out(self) -> bool:
        """Whether `llama` runs it; else transformers' own forward does, on padded rows."""
        return not self.padded and is_llama(self.module)

    def precision(self) -> AbstractContextManager[Any]:
        """Autocast for the forward pass; nothing at all in float32."""
        if self.compute == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute)

    @property
    def context(self) -> int:
        """Longest sequence the positions allow, in tokens."""
        return _positions(self.module.config)


def device_of(local: LocalConfig) -> torch.device:
    """The device `local.device` names; `auto` takes CUDA when there is one."""
    if local.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if local.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("local.device is cuda; no CUDA device found", hint="use  device: auto")
    return torch.device(local.device)


def compute_dtype(local: LocalConfig, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, where runs repeat bit for bit, and bfloat16 on a GPU."""
    if local.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if local.dtype == "bfloat16" else torch.float32


def load_tokenizer(path: Path, chat: ChatConfig = DEFAULT_CHAT) -> Any:
    """The directory's tokenizer, with our chat template installed unless it keeps its own.

    `tokenizer.json` is read as it is: AutoTokenizer of a Qwen2 directory appends a token that
    lies beyond a small model's embedding.
    """
    fast = (path / "tokenizer.json").exists()
    loader: Any = PreTrainedTokenizerFast if fast else AutoTokenizer
    tokenizer = loader.from_pretrained(path, local_files_only=True)
    if chat.template == "own":
        if not tokenizer.chat_template:
            raise ConfigError(
                f"{path} has a tokenizer without a chat template; `chat.template: own` needs one",
                hint="install ours:  --set chat.template=cascade",
            )
        return tokenizer
    HFTokenizer(tokenizer)  # refuses a vocabulary that cannot hold our template
    tokenizer.chat_template = jinja_template(chat.system)
    return tokenizer


def context_of(path: Path) -> int:
    """Longest sequence the positions of a model directory allow, in tokens."""
    return _positions(AutoConfig.from_pretrained(path, local_files_only=True))


def _positions(config: Any) -> int:
    """A configuration without learned or rotary positions has no bound."""
    return int(getattr(config, "max_position_embeddings", 0) or 1 << 30)


def load_model(
    path: Path,
    chat: ChatConfig,
    local: LocalConfig,
    head: Head = "language",
    yarn_factor: float = 1.0,
) -> Model:
    """Read a causal language model, or the same with a scalar head, in float32.

    A directory without a scalar head gets one of zeros, so that nothing depends on a global
    random state. `yarn_factor` stretches the context. Raises CheckpointError where the
    directory is missing or torn.
    """
    device = device_of(local)
    if not (path / "config.json").exists():
        raise CheckpointError(f"{path} is not a model directory: config.json is missing")
    try:
        module = _load_module(path, head, yarn_factor)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a model: {error}", hint="restore or retrain that stage"
        ) from None
    module.to(device).eval()  # no dropout: sampling and learning must see one distribution
    if local.gradient_checkpointing:
        module.gradient_checkpointing_enable({"use_reentrant": False})
    tokenizer, compute = load_tokenizer(path, chat), compute_dtype(local, device)
    _check_vocabulary(path, tokenizer, module.get_input_embeddings().num_embeddings)
    return Model(module, tokenizer, device, compute, local.gradient_checkpointing)


def _check_vocabulary(path: Path, tokenizer: Any, rows: int) -> None:
    """A token without a row in the embedding would end a run in its middle."""
    beyond = {token: i for token, i in tokenizer.get_vocab().items() if i >= rows}
    if beyond:
        token, place = min(beyond.items(), key=lambda item: item[1])
        raise ConfigError(
            f"{path}: its tokenizer has {len(beyond)} tokens that the model has no embedding for, "
            f"the first {token!r} ({place}; {rows} rows)",
            hint="take the tokenizer that belongs to it, or resize the model's embedding",
        )


def _load_module(path: Path, head: Head, yarn_factor: float) -> Any:
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    if yarn_factor > 1.0:
        length = config.max_position_embeddings
        yarn = {
            "rope_type": "yarn",
            "factor": yarn_factor,
            "original_max_position_embeddings": length,
        }
        config.rope_parameters = {**config.rope_parameters, **yarn}
        config.max_position_embeddings = int(length * yarn_factor)
    if head == "language":
        return AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
        )
    config.num_labels = 1
    module, info = AutoModelForSequenceClassification.from_pretrained(
        path,
        config=config,
        dtype=torch.float32,
        local_files_only=True,
        output_loading_info=True,
    )
    if any(name.startswith("score.") for name in info["missing_keys"]):
        nn.init.zeros_(module.score.weight)
    return module


def tied_weights(module: nn.Module) -> Mapping[str, str]:
    """Names of weights that are another's, and whose they are."""
    return getattr(module, "all_tied_weights_keys", None) or {}


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """State tensors by name, sorted, each tied weight once: what a saved file holds."""
    tied = tied_weights(module)
    wrapped = {name: part for name, part in module.named_modules() if hasattr(part, "base_layer")}
    plain = {name.replace(".base_layer.", "."): tensor
             for name, tensor in module.state_dict().items() if ".lora_" not in name}  # fmt: skip
    for name, tensor in sorted(plain.items()):
        if name in tied:
            continue
        owner, _, kind = name.rpartition(".")
        if owner in wrapped and kind == "weight":
            yield name, weight_of(wrapped[owner]).detach()
        else:
            yield name, tensor.detach()


def add_lora(module: nn.Module, lora: LoRAConfig, seed: int) -> None:
    """Wrap the targets; only the updates, and a scalar head, are trained from here on.

    Raises ConfigError where PEFT is missing or knows none of the targets.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ConfigError(
            "lora needs PEFT, which is not installed", hint="pip install 'cascade-rl[lora]'"
        ) from None
    known = {name.rpartition(".")[2] for name, _ in module.named_modules()}
    missing = [target for target in lora.targets if target not in known]
    if missing:
        raise ConfigError(f"lora.targets names {missing[0]!r}, which this model does not have")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets), lora_dropout=0.0
        )
        inject_adapter_in_model(config, module)
    head = getattr(module, "score", None)
    if head is not None:
        head.weight.requires_grad_(True)


def trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters that a stage changes, by name, in the module's order."""
    return [(name, p) for name, p in module.named_parameters() if p.requires_grad]


CHAT_FILE = "cascade_chat.json"


def trained_chat(path: Path) -> ChatConfig:
    """The chat settings a model directory was trained with; the defaults where it names none."""
    file = path / CHAT_FILE
    return ChatConfig.model_validate_json(file.read_bytes()) if file.exists() else ChatConfig()


def save_model(module: Any, tokenizer: Any, chat: ChatConfig, path: Path) -> None:
    """Write config, float32 safetensors, tokenizer, template and chat settings.

    The model can go on training.
    """
    weights = {name: tensor.cpu().clone() for name, tensor in named_tensors(module)}
    _write(module, tokenizer, weights, chat, path)


def save_tensors(model: Model, weights: Mapping[str, Tensor], chat: ChatConfig, path: Path) -> None:
    """The same from weights that were gathered from the ranks of a sharded module."""
    architectures = [name.removeprefix("FSDP") for name in (type(model.module).__name__,)]
    _write(model.module, model.tokenizer, weights, chat, path)
    file = path / "config.json"
    values = json.loads(file.read_text(encoding="utf-8")) | {"architectures": architectures}
    file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _write(
    module: Any, tokenizer: Any, weights: Mapping[str, Tensor], chat: ChatConfig, path: Path
) -> None:
    path.mkdir(parents=True, exist_ok=True)
    module.save_pretrained(path, state_dict=dict(weights), safe_serialization=True)
    tokenizer.save_pretrained(path)
    (path / CHAT_FILE).write_text(chat.model_dump_json(), encoding="utf-8")


def save_weights(module: nn.Module, file: Path) -> None:
    """The weights that are trained, for a training checkpoint."""
    save_file({name: tensor.detach().cpu().clone() for name, tensor in trained(module)}, file)


def load_weights(module: nn.Module, file: Path) -> None:
    """Copy a file of `save_weights` into the module, in place."""
    try:
        stored: Mapping[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is missing or torn: {error}") from None
    with torch.no_grad():
        for name, tensor in trained(module):
            tensor.copy_(stored[name])


def params_digest(module: nn.Module) -> str:
    """Digest of the weights in memory.

    Equals `digests.weights_digest` of the directory `save_model` writes: how a handoff is
    proven.
    """
    digest = TensorDigest()
    for name, tensor in named_tensors(module):
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.add(name, dtype, tensor.shape, [tensor.cpu().contiguous().numpy().tobytes()])
    return digest.hexdigest()


BLOCK = 256
"""The vectors' length is a multiple of it, which optimizers with 8-bit moments ask for."""


class FlatParameters:
    """The trained parameters of a module as views of one float32 vector, and of one of gradients.

    One vector makes the optimizer step, the norm and the sum over processes single
    operations, and lets processes share weights by sharing `values`.
    """

    def __init__(
        self, module: nn.Module, values: Tensor, gradients: Tensor, *, adopt: bool
    ) -> None:
        """`adopt` takes the values already in `values`; otherwise the module's are copied in."""
        self.values = values
        self.gradients = gradients
        start = 0
        for _, parameter in trained(module):
            end = start + parameter.numel()
            if not adopt:
                values[start:end].copy_(parameter.detach().reshape(-1))
            parameter.data = values[start:end].view(parameter.shape)
            parameter.grad = gradients[start:end].view(parameter.shape)
            start = end
        assert start <= values.numel() == gradients.numel() < start + BLOCK

    @staticmethod
    def size(module: nn.Module) -> int:
        """Number of scalars, up to the next whole block; tied weights count once."""
        count = sum(parameter.numel() for _, parameter in trained(module))
        return -(-count // BLOCK) * BLOCK
