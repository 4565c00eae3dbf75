from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cascade_rl.data.sft.journal import Journal
from cascade_rl.errors import EndpointError, InputError
from cascade_rl.evaluation.swe.embeddings import EmbeddingRetriever, EmbeddingServer

AXES = ("cat", "dog", "bird")
FILES = {
    "a.py": "a cat sat",
    "b.py": "dog dog dog",
    "c.py": "x " * 30 + "bird bird",
    "d.py": "",
}


class Embedder:
    """A server whose vectors count three words. `faults` are answered first, one a request."""

    def __init__(self, *faults: str) -> None:
        self.faults, self.requests, self.url = list(faults), [], ""
        self.requests: list[dict[str, Any]] = []

    def reply(self, body: dict[str, Any]) -> tuple[int, bytes]:
        self.requests.append(body)
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdigit():
            return int(fault), b"no"
        vectors = [[len(re.findall(axis, text)) + 0.01 for axis in AXES] for text in body["input"]]
        data = [{"index": n, "embedding": v} for n, v in enumerate(vectors)]
        data.reverse()
        if fault == "short":
            data = data[1:]
        return 200, b"{" if fault == "torn" else json.dumps({"data": data}).encode()


@contextmanager
def serving(state: Embedder) -> Iterator[EmbeddingServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/embeddings"
            status, data = state.reply(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield EmbeddingServer(url, "words", piece=40, batch=2, backoff_s=0.01, tries=3)
        finally:
            server.shutdown()
            thread.join()


def ranked(server: EmbeddingServer, issue: str, path: Path) -> list[str]:
    with Journal(path) as journal:
        return EmbeddingRetriever(server, journal)(FILES, issue)


def test_files_are_ranked_by_their_nearest_piece(tmp_path: Path) -> None:
    with serving(Embedder()) as server:
        assert ranked(server, "the dog", tmp_path / "j")[0] == "b.py"
        assert ranked(server, "no bird", tmp_path / "j")[0] == "c.py"  # in its second piece
        assert sorted(ranked(server, "cat", tmp_path / "j")) == sorted(FILES)


def test_a_text_is_embedded_once(tmp_path: Path) -> None:
    state = Embedder()
    with serving(state) as server:
        first = ranked(server, "the dog", tmp_path / "j")
        count = len(state.requests)
        assert count == 1 + 3  # the issue, and five pieces two at a time
        assert ranked(server, "the dog", tmp_path / "j") == first
        assert len(state.requests) == count
        ranked(replace(server, model="other", typed=True), "the dog", tmp_path / "j")
    kinds = [body.get("input_type") for body in state.requests]
    assert kinds == [None] * count + ["query"] + ["passage"] * 3


@pytest.mark.parametrize("fault", ["429", "503", "torn", "short"])
def test_what_fails_for_now_is_asked_again(tmp_path: Path, fault: str) -> None:
    state = Embedder(fault, fault)
    with serving(state) as server:
        assert ranked(server, "the dog", tmp_path / "j")[0] == "b.py"


def test_a_server_that_gives_none_ends_the_command_and_what_it_gave_is_kept(tmp_path: Path) -> None:
    state = Embedder("", "", "500", "500", "500")
    with serving(state) as server:
        with pytest.raises(EndpointError, match="gives no embeddings: status 500"):
            ranked(server, "the dog", tmp_path / "j")
        before = len(state.requests)
        assert ranked(server, "the dog", tmp_path / "j")[0] == "b.py"
        assert len(state.requests) == before + 2


@pytest.mark.parametrize(("status", "hint"), [("401", "--api-key-env"), ("404", "--endpoint")])
def test_a_wrong_key_or_address_is_said_at_once(tmp_path: Path, status: str, hint: str) -> None:
    state = Embedder(status)
    with serving(state) as server, pytest.raises(InputError, match=hint):
        ranked(server, "the dog", tmp_path / "j")
    assert len(state.requests) == 1
