"""Decoding of Llama-shaped models: lines in flight that each feed one token a step.

Each prompt is run once, and its keys and values stay where all of its lines read them; each line
has its own after that, written in place. A line that ends makes room for another at once, so
lines are of different age. On a CPU what lies between the matrix products runs in a small C
kernel (`_decode.c`, built at installation where there is a compiler): a third of the time else.
`_step` does the same in torch, for other devices and dtypes; on a GPU it is recorded as a graph.

Axis suffixes: B lines, S slots of prompts, A heads, K heads of keys and values, D width, C
columns of a line's own, L columns of a prompt.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cascade_rl.engines.local.llama import hidden, read
from cascade_rl.engines.local.model import Model
from cascade_rl.engines.local.packed import table

FIRST_CAPACITY = 64
FILLED = 16384
"""Tokens of prompts that are run at once, each counted as long as the longest of them."""
BLOCK = 16
"""Tokens whose keys lie together where the kernel reads them, as in `_decode_body.h`."""


@cache
def kernel() -> ctypes.CDLL | None:
    """The compiled kernel; None where it was not built."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_decode{suffix}")
        if path.exists():
            return ctypes.CDLL(str(path))
    return None


class _Step(ctypes.Structure):
    """`Step` of `_decode_body.h`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("lines", "heads", "kv_heads", "width", "capacity",
                                              "prompt_width")),
        ("eps", ctypes.c_float),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("prompt_of", "prompt_length", "length")),
    ]  # fmt: skip


class Decoder:
    """Lines in flight. The caller says which line takes which prompt, and which lines go on."""

    def __init__(self, model: Model, lines: int, prompts: int, longest: int, most: int) -> None:
        """Room for `lines`, for `prompts` of up to `longest` tokens, `most` new tokens each."""
        self._device, self._most = model.device, most
        dtype = model.compute
        self._llama = read(model.module, longest + most, None if dtype == torch.float32 else dtype)
        self._head = model.module.get_output_embeddings().weight.to(dtype)
        kv, width, count = self._llama.kv_heads, self._llama.width, len(self._llama.layers)
        self._kernel = kernel() if dtype == torch.float32 and self._device.type == "cpu" else None
        self._width, self._capacity = _whole(longest - 1), _whole(min(FIRST_CAPACITY, most))

        def memory(*shape: int) -> list[Tensor]:
            return [torch.zeros(shape, dtype=dtype, device=self._device) for _ in range(count)]

        def room(rows: int, tokens: int) -> tuple[list[Tensor], list[Tensor]]:
            """Keys and values of every layer; the kernel has keys in blocks."""
            keys = (tokens // BLOCK, width, BLOCK) if self._kernel else (width, tokens)
            return memory(rows, kv, *keys), memory(rows, kv, tokens, width)

        self._prompt_keys, self._prompt_values = room(prompts, self._width)
        self._keys, self._values = room(lines, self._capacity)
        self._prompt_length = np.zeros(prompts, dtype=np.int64)
        self._last = np.zeros(prompts, dtype=np.int64)
        self.prompt_of = np.zeros(lines, dtype=np.int64)
        self.length = np.zeros(lines, dtype=np.int64)
        self._inputs = np.zeros(lines, dtype=np.int64)
        self._graph: _Graph | None = None

    def fill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """Run prompts, all but their last tokens, into their slots; so many tokens at once."""
        for slot, prompt in zip(slots, prompts, strict=True):
            self._prompt_length[slot], self._last[slot] = len(prompt) - 1, prompt[-1]
        both = list(zip(slots, prompts, strict=True))
        if len(both) * max(map(len, prompts)) > FILLED:
            both.sort(key=lambda one: len(one[1]))
        while both:
            count = 1
            while count < len(both) and (count + 1) * len(both[count][1]) <= FILLED:
                count += 1
            part, both = both[:count], both[count:]
            self._run([slot for slot, _ in part], [prompt for _, prompt in part])

    def _run(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        lengths = [len(prompt) - 1 for prompt in prompts]
        ids = [token for prompt in prompts for token in prompt[:-1]]
        positions = [position for length in lengths for position in range(length)]
        starts = np.cumsum([0, *lengths[:-1]])
        places, real = (torch.from_numpy(a).to(self._device)
                        for a in table(list(zip(starts, lengths, strict=True))))  # fmt: skip
        rows = torch.tensor(slots, device=self._device)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            q, k, v = (x[places].transpose(1, 2) for x in (query, key, value))
            longest, keys = k.shape[2], self._prompt_keys[layer]
            if self._kernel is None:
                keys[rows, :, :, :longest] = k.transpose(2, 3)
            else:
                keys[rows, :, : _whole(longest) // BLOCK] = _blocks(k)
            self._prompt_values[layer][rows, :, :longest] = v
            out = F.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=query.shape[1] != key.shape[1]
            )
            return out.transpose(1, 2)[real]

        if ids:
            ids_N, positions_N = (torch.tensor(a, device=self._device) for a in (ids, positions))
            hidden(self._llama, ids_N, positions_N, attend)

    def begin(self, lines: np.ndarray, slots: np.ndarray) -> None:
        """Lines start on prompts."""
        self.prompt_of[lines], self.length[lines] = slots, 0
        self._inputs[lines] = self._last[slots]

    def end(self, lines: np.ndarray) -> None:
        """Lines are done; they idle at their first columns until they begin again or go."""
        self.length[lines] = 0

    def logits(self) -> Tensor:
        """Feed the input of every line; logits [B, V] in float32."""
        if self.length.max() == self._capacity:
            self._grow()
        positions = self._prompt_length[self.prompt_of] + self.length
        if self._kernel is not None:
            found = self._head_of(self._fused(self._kernel, torch.from_numpy(positions)))
        else:
            lines = [self._inputs, positions, self.length, self.prompt_of]
            ends = self._prompt_length[self.prompt_of]
            tensors = [torch.from_numpy(array) for array in (*lines, ends)]
            if self._device.type == "cuda":
                self._graph = self._graph or _Graph(self._step, self._device, tensors)
                found = self._graph.replay(tensors)
            else:
                found = self._step(tensors, int(self.length.max()) + 1)
        self.length += 1
        return found

    def _head_of(self, hidden_BH: Tensor) -> Tensor:
        return F.linear(hidden_BH.to(self._head.dtype), self._head).float()

    def feed(self, ids: np.ndarray) -> None:
        """The tokens that `logits` will be asked about next."""
        self._inputs = ids

    def keep(self, lines: np.ndarray) -> None:
        """Drop all other lines."""
        rows = torch.from_numpy(lines).to(self._device)
        self._keys = [keys[rows] for keys in self._keys]
        self._values = [values[rows] for values in self._values]
        self.prompt_of, self.length = self.prompt_of[lines], self.length[lines]
        self._inputs, self._graph = self._inputs[lines], None

    def _grow(self) -> None:
        more = min(_whole(self._most), 2 * self._capacity) - self._capacity
        room = (0, more) if self._kernel is None else (0, 0, 0, 0, 0, more // BLOCK)
        for layer in range(len(self._keys)):  # one at a time: old and new of all would be thrice
            self._keys[layer] = F.pad(self._keys[layer], room)
            self._values[layer] = F.pad(self._values[layer], (0, 0, 0, more))
        self._capacity, self._graph = self._capacity + more, None

    # --- in torch -----------------------------------------------------------------------------

    def _step(self, lines: Sequence[Tensor], columns: int | None = None) -> Tensor:
        """Logits [B, V] of one token a line: ids, positions, own lengths, slots, prompts' lengths.

        `columns` of the lines' own keys are looked at, or all: then no shape depends on a value.
        """
        ids, where, length, slots, ends = lines
        rows = torch.arange(len(ids), device=self._device)
        columns = columns or self._capacity
        own = torch.arange(columns, device=self._device)[None] <= length[:, None]
        there = torch.arange(self._width, device=self._device)[None] < ends[:, None]
        hidden_BC = ~torch.cat([there, own], dim=1)[:, None, None]
        width = self._width

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._keys[layer], self._values[layer]
            keys[rows, :, :, length] = key.to(keys.dtype)
            values[rows, :, length] = value.to(values.dtype)
            query = query.to(keys.dtype)
            kv = key.shape[1]
            grouped = (query * self._llama.width**-0.5).view(len(rows), kv, -1, query.shape[2])
            scores = torch.cat(
                [grouped @ self._prompt_keys[layer][slots], grouped @ keys[..., :columns]], dim=-1
            ).float()
            weights = scores.masked_fill(hidden_BC, -torch.inf).softmax(-1).to(values.dtype)
            out = weights[..., :width] @ self._prompt_values[layer][slots]
            out = out + weights[..., width:] @ values[:, :, :columns]
            return out.reshape(len(rows), query.shape[1], query.shape[2])

        return self._head_of(hidden(self._llama, ids, where, attend))

    # --- in C ---------------------------------------------------------------------------------

    def _fused(self, lib: ctypes.CDLL, where: Tensor) -> Tensor:
        llama, count = self._llama, len(self.length)
        cosines, sines = llama.cosines[where], llama.sines[where]
        slots, ends, length = self.prompt_of, self._prompt_length, self.length
        step = _Step(
            count, llama.heads, llama.kv_heads, llama.width, self._capacity, self._width,
            llama.eps, llama.width**-0.5, slots.ctypes.data, ends.ctypes.data, length.ctypes.data,
        )  # fmt: skip
        x = F.embedding(torch.from_numpy(self._inputs), llama.embedding)
        normed, found = torch.empty_like(x), x.new_empty(count, llama.heads * llama.width)
        scores = x.new_empty(6 * (self._width + self._capacity))  # of six heads at a time
        gated = x.new_empty(count, llama.layers[0].down.shape[1])
        at = ctypes.byref(step)
        for index, layer in enumerate(llama.layers):
            _norm(lib, x, layer.norm_in, normed, llama.eps)
            qkv = F.linear(normed, layer.qkv, layer.qkv_bias)
            lib.decode_attend(
                at, _pointer(qkv), _pointer(layer.norm_q), _pointer(layer.norm_k),
                _pointer(cosines), _pointer(sines),
                _pointer(self._keys[index]), _pointer(self._values[index]),
                _pointer(self._prompt_keys[index]), _pointer(self._prompt_values[index]),
                _pointer(scores), _pointer(found),
            )  # fmt: skip
            _project(x, found, layer.out, layer.out_bias)
            _norm(lib, x, layer.norm_mlp, normed, llama.eps)
            gate_up = F.linear(normed, layer.gate_up, layer.gate_up_bias)
            rows, width = ctypes.c_int64(count), ctypes.c_int64(gated.shape[1])
            lib.decode_gate(_pointer(gate_up), _pointer(gated), rows, width)
            _project(x, gated, layer.down, layer.down_bias)
        _norm(lib, x, llama.norm, normed, llama.eps)
        return normed


def _whole(tokens: int) -> int:
    """As many tokens, up to a whole number of blocks; at least one."""
    return max(1, -(-tokens // BLOCK)) * BLOCK


def _blocks(keys: Tensor) -> Tensor:
    """Keys [R, K, L, D] as the kernel reads them: [R, K, blocks, D, BLOCK]."""
    filled = F.pad(keys, (0, 0, 0, -keys.shape[2] % BLOCK)).contiguous()
    rows, kv, tokens, width = filled.shape
    return filled.view(rows, kv, tokens // BLOCK, BLOCK, width).transpose(3, 4)


class _Graph:
    """A step recorded once on a GPU, for as long as the tensors it reads stay where they are."""

    def __init__(
        self,
        step: Callable[[Sequence[Tensor]], Tensor],
        device: torch.device,
        like: Sequence[Tensor],
    ) -> None:
        self._inputs = [tensor.to(device) for tensor in like]
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):  # what is set up at the first call must not be recorded
            step(self._inputs)
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = step(self._inputs)

    def replay(self, inputs: Sequence[Tensor]) -> Tensor:
        """The step on other inputs; its output is overwritten by the next one."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._output


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _norm(lib: ctypes.CDLL, x: Tensor, weight: Tensor, out: Tensor, eps: float) -> None:
    rows, width = map(ctypes.c_int64, x.shape)
    lib.decode_norm(_pointer(x), _pointer(weight), _pointer(out), rows, width, ctypes.c_float(eps))


def _project(x: Tensor, found: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """X += found @ weight.T + bias, in place."""
    torch.addmm(x, found, weight.T, out=x)
    if bias is not None:
        x += bias
