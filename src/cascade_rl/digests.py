"""Digests that names, keys and proofs are made of: SHA-256 in hex, canonical input.

One rule: a weights digest is of tensors, not of files, so the same weights have the same digest
in a trainer's memory and in any sharding of safetensors on disk.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cascade_rl.errors import CheckpointError

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_CHUNK = 1 << 24


def digest_json(value: Any) -> str:
    """Digest of a JSON value, independent of key order and spacing."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_text(*parts: str) -> str:
    """Digest of several texts, unambiguous about where one ends."""
    return digest_json(list(parts))


def digest_file(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class TensorDigest:
    """Digest of named tensors fed in name order: (name, dtype, shape, bytes) each.

    `dtype` is torch's name without its prefix, e.g. `float32`; bytes are little-endian and
    contiguous.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(
        self, name: str, dtype: str, shape: Iterable[int], data: Iterable[bytes | memoryview]
    ) -> None:
        """Add one tensor."""
        self._hash.update(f"{name}\0{dtype}\0{list(shape)}\0".encode())
        for block in data:
            self._hash.update(block)

    def hexdigest(self) -> str:
        """The digest so far."""
        return self._hash.hexdigest()


def weights_digest(model: Path) -> str:
    """Digest of all tensors in a model directory's safetensors files.

    Raises CheckpointError where a file is missing or shorter than its header says.
    """
    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{model} holds no *.safetensors; expected a Hugging Face model directory"
        )
    tensors: dict[str, tuple[Path, str, list[int], int, int]] = {}
    for file in files:
        size = file.stat().st_size
        header, start = _header(file, size)
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            if start + end > size:
                raise _truncated(file, size, start + end)
            dtype = _DTYPES.get(entry["dtype"], entry["dtype"].lower())
            tensors[name] = (file, dtype, entry["shape"], start + begin, end - begin)
    digest = TensorDigest()
    for name in sorted(tensors):
        file, dtype, shape, offset, length = tensors[name]
        digest.add(name, dtype, shape, _blocks(file, offset, length))
    return digest.hexdigest()


def _header(file: Path, size: int) -> tuple[dict[str, Any], int]:
    with file.open("rb") as stream:
        first = stream.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if len(first) < 8 or 8 + length > size:
            raise _truncated(file, size, 8 + length)
        try:
            return json.loads(stream.read(length)), 8 + length
        except ValueError:
            raise CheckpointError(f"{file} is not a safetensors file: unreadable header") from None


def _blocks(file: Path, offset: int, length: int) -> Iterable[bytes]:
    with file.open("rb") as stream:
        stream.seek(offset)
        while length:
            block = stream.read(min(_CHUNK, length))
            if not block:
                raise _truncated(file, offset, offset + length)
            length -= len(block)
            yield block


def _truncated(file: Path, found: int, expected: int) -> CheckpointError:
    return CheckpointError(
        f"{file} is truncated: {found} bytes, expected at least {expected}",
        hint="copy it again, or train the stage again:  cascade run ... --resume STAGE",
    )
