"""Retrieval by embeddings from any OpenAI-compatible server: which files are near the issue.

One rule: a text is embedded once. Vectors are journaled by model and text, so the files that the
issues of one repository share, and a run that was killed, cost nothing again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import numpy as np
import numpy.typing as npt

from cascade_rl.data.sft.endpoint import AGAIN, STOP
from cascade_rl.data.sft.journal import Journal
from cascade_rl.data.sft.pace import retry_after
from cascade_rl.digests import digest_json
from cascade_rl.errors import EndpointError, InputError
from cascade_rl.evaluation.swe.repository import Files

Kind = Literal["query", "passage"]


@dataclass(frozen=True, slots=True)
class EmbeddingServer:
    """How it is asked. `url` is the base that usually ends in `/v1`.

    A file goes in pieces of `piece` characters. `typed` adds `input_type`, which models made for
    retrieval (NV-EmbedCode among them) want to be told. `backoff_s` doubles.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    piece: int = 8000
    batch: int = 32
    typed: bool = False
    tries: int = 6
    backoff_s: float = 0.5
    timeout_s: float = 120.0
    longest_pause_s: float = 600.0


@dataclass(frozen=True, slots=True)
class EmbeddingRetriever:
    """A `Retriever`: files by the cosine of the piece that is nearest to the issue."""

    server: EmbeddingServer
    journal: Journal

    def __call__(self, files: Files, issue: str) -> list[str]:
        """All files, the nearest first. Raises EndpointError, InputError."""
        size = self.server.piece
        pieces = [
            (path, f"{path}\n{text[start : start + size]}")
            for path, text in sorted(files.items())
            for start in range(0, max(len(text), 1), size)
        ]
        if not pieces:
            return []
        query = self._vectors([issue[:size]], "query")[0]
        vectors = self._vectors([text for _, text in pieces], "passage")
        nearest = dict.fromkeys(files, -2.0)
        for (path, _), vector in zip(pieces, vectors, strict=True):
            nearest[path] = max(nearest[path], float(vector @ query))
        return sorted(files, key=lambda path: (-nearest[path], path))

    def _vectors(self, texts: Sequence[str], kind: Kind) -> npt.NDArray[np.float64]:
        """Unit vectors, one a text."""
        keys = [digest_json([self.server.model, self.server.typed and kind, t]) for t in texts]
        missing = {k: t for k, t in zip(keys, texts, strict=True) if k not in self.journal}
        wanted = list(missing.items())
        headers = {"Authorization": f"Bearer {self.server.api_key}"} if self.server.api_key else {}
        with httpx.Client(timeout=self.server.timeout_s, headers=headers) as client:
            for start in range(0, len(wanted), self.server.batch):
                batch = wanted[start : start + self.server.batch]
                found = self._ask(client, [text for _, text in batch], kind)
                for (key, _), vector in zip(batch, found, strict=True):
                    self.journal.put(key, {"embedding": vector})
        rows = [kept["embedding"] for key in keys if (kept := self.journal.get(key)) is not None]
        vectors: npt.NDArray[np.float64] = np.array(rows, dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: npt.NDArray[np.float64] = vectors / np.maximum(lengths, 1e-12)
        return unit

    def _ask(self, client: httpx.Client, texts: list[str], kind: Kind) -> list[list[float]]:
        """The vectors of one request, with its tries."""
        server, why = self.server, ""
        body = {"model": server.model, "input": texts}
        for attempt in range(server.tries):
            if attempt:
                time.sleep(min(server.backoff_s * 2.0 ** (attempt - 1), 60.0))
            try:
                reply = client.post(
                    server.url.rstrip("/") + "/embeddings",
                    json=body | ({"input_type": kind} if server.typed else {}),
                )
                if reply.is_success:
                    return _read(reply.json(), len(texts))
            except (httpx.RequestError, ValueError, LookupError, TypeError) as error:
                why = f"{type(error).__name__} {error}".strip()
                continue
            why = f"status {reply.status_code}: {' '.join(reply.text[:300].split())}"
            if reply.status_code in STOP:
                raise InputError(f"{server.url}: {why}", hint=STOP[reply.status_code])
            if reply.status_code not in AGAIN and reply.status_code < 500:
                break
            self._heed(reply)
        raise EndpointError(
            f"{server.url} gives no embeddings: {why}",
            hint="what it gave is kept: run the same command to go on",
        )

    def _heed(self, reply: httpx.Response) -> None:
        """Wait as long as the server asks, within reason."""
        seconds = retry_after(reply.headers.get("Retry-After")) or 0.0
        if seconds > self.server.longest_pause_s:
            raise EndpointError(
                f"{self.server.url} asks to be left alone for {seconds:.0f} s",
                hint="what it gave is kept: run the same command after that time",
            )
        time.sleep(seconds)


def _read(body: Any, count: int) -> list[list[float]]:
    """The vectors in the order of the texts; another shape raises one of those caught above."""
    found = sorted(body["data"], key=lambda item: int(item["index"]))
    vectors = [[float(x) for x in item["embedding"]] for item in found]
    if len(vectors) != count or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise ValueError(f"expected {count} vectors of one length, found {len(vectors)}")
    return vectors
