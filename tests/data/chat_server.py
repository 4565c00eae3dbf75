"""A chat-completions server on this machine, with the faults that servers have.

What it does is written in the last user turn: `429 2` fails twice with that status, `torn 1`
breaks off once in the middle of an answer, and so on. Other prompts are sums, which it solves.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "503", "400", "401", "slow", "torn", "garbage", "shapeless", "closed")
Answers = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def sums(body: Mapping[str, Any]) -> dict[str, Any]:
    """The choice for a sum, right, in the mode that the flag asks for."""
    text = body["messages"][-1]["content"]
    found = re.search(r"(\d+) ?\+ ?(\d+)", text)
    total = int(found[1]) + int(found[2]) if found else 0
    message = {"role": "assistant", "content": f"So it is \\boxed{{{total}}}, try {body['seed']}."}
    if text.endswith(" /think"):
        message["reasoning_content"] = f"I add, try {body['seed']}."
    return {"message": message, "finish_reason": "stop"}


class ChatServer:
    """Counts what it was asked. `paid` are complete answers, by prompt, model and seed.

    A client that was killed leaves requests behind, which are still answered: its count is whole
    once `connected` is 0.
    """

    def __init__(self, answers: Answers, delay_s: float) -> None:
        self.answers, self.delay_s = answers, delay_s
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.times: list[float] = []
        self.paid: Counter[tuple[str, str, int]] = Counter()
        self.failed: Counter[str] = Counter()
        self.waiting = self.most_waiting = 0
        self.connected = 0
        self.url = ""


def handler_for(state: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            with state.lock:
                state.connected += 1
            super().setup()

        def finish(self) -> None:
            with state.lock:
                state.connected -= 1
            super().finish()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.requests.append(body)
                state.headers.append(dict(self.headers))
                state.times.append(time.monotonic())
                state.waiting += 1
                state.most_waiting = max(state.most_waiting, state.waiting)
            try:
                self._serve(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with state.lock:
                    state.waiting -= 1

        def _serve(self, body: Mapping[str, Any]) -> None:
            text = body["messages"][-1]["content"]
            time.sleep(state.delay_s)
            fault = self._fault(text)
            if fault == "closed":
                self.close_connection = True
                return
            if fault == "slow":
                time.sleep(1.0)
            if fault in ("429", "500", "503", "400", "401"):
                after = re.search(r"after=(\S+)", text)
                sent = f"no, {self.headers.get('Authorization', '')}".encode()
                self._send(int(fault), sent, {"Retry-After": after[1]} if after else {})
                return
            choice = state.answers(body)
            usage = {"completion_tokens": len(json.dumps(choice)) // 4, "total_tokens": 100}
            data = json.dumps({"choices": [choice], "usage": choice.get("usage", usage)}).encode()
            if fault in ("garbage", "shapeless"):
                data = b"<html>" if fault == "garbage" else b'{"choices": []}'
            if fault == "torn":
                self._send(200, data, {}, cut=len(data) // 2)
                return
            with state.lock:
                state.paid[text, body["model"], body["seed"]] += fault is None
            self._send(200, data, {})

        def _fault(self, text: str) -> str | None:
            """The fault this prompt asks for, so many times and not more."""
            words = text.split()
            for fault in FAULTS:
                if fault in words[:1]:
                    with state.lock:
                        state.failed[text] += 1
                        return fault if state.failed[text] <= int(words[1]) else None
            return None

        def _send(
            self, status: int, data: bytes, headers: Mapping[str, str], cut: int | None = None
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[:cut])
            self.close_connection = cut is not None

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


class Server(ThreadingHTTPServer):
    """Says nothing of clients that are killed."""

    def handle_error(self, *args: Any) -> None:
        pass


@contextmanager
def chat_server(answers: Answers = sums, delay_s: float = 0.0) -> Iterator[ChatServer]:
    """Serve in threads until the block ends."""
    state = ChatServer(answers, delay_s)
    with Server(("127.0.0.1", 0), handler_for(state)) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
