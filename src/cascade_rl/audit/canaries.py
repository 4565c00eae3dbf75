"""What must not be touched: a secret, places to write, addresses to reach.

Payloads name them by placeholders: `{{token}}` the run's own name, `{{dir}}` a folder anyone may
write to, `{{port}}` a TCP and a UDP port of this machine. The secret is the value of the
environment variable SECRET and the content of `{{dir}}/secret`. Whatever carries the token in its
name, or arrives at the address, is a leak; `leaks` says what there was and removes it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SECRET = "CASCADE_AUDIT_SECRET"


class Canaries:
    """Set out on entry, taken away on exit. `environment` goes to the audited process."""

    def __init__(self) -> None:
        self.token = f"cascade-audit-{secrets.token_hex(6)}"
        self.secret = secrets.token_hex(16)
        self.folder = Path(tempfile.gettempdir()) / self.token
        folders = ("/", "/tmp", "/var/tmp", "/dev/shm", str(Path.home()), tempfile.gettempdir())
        self._places = {Path(folder) for folder in folders}
        self._sockets: list[socket.socket] = []
        self._port = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o755)
        self.work.mkdir()
        self.folder.chmod(0o1777)
        (self.folder / "secret").write_text(self.secret)
        (self.folder / "secret").chmod(0o644)
        stream = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._port = stream.getsockname()[1]
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", self._port))
        self._sockets = [stream, datagram]
        for address in (str(self.folder / "socket"), f"\0{self.token}"):
            with suppress(OSError):  # a temporary folder's path may be too long for a socket
                local = socket.socket(socket.AF_UNIX)
                self._sockets.append(local)
                local.bind(address)
                local.listen(64)
                if not address.startswith("\0"):
                    os.chmod(address, 0o777)
        for server in self._sockets:
            server.setblocking(False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.leaks()
        for server in self._sockets:
            server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def work(self) -> Path:
        """The audited process's own working directory, which it may write in."""
        return self.folder / "work"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the audited process."""
        return {SECRET: self.secret}

    def watch(self, folders: Iterable[str]) -> None:
        """Look for written files in these folders too."""
        self._places.update(map(Path, folders))

    def fill(self, text: str) -> str:
        """The text with its placeholders replaced."""
        if "{{" not in text:
            return text
        text = text.replace("{{token}}", self.token).replace("{{dir}}", str(self.folder))
        return text.replace("{{port}}", str(self._port))

    def leaks(self) -> list[str]:
        """What was written or reached since the last call; files are removed."""
        found = [f"connected to the listener: {name}" for name in self._arrived()]
        kept = {"secret", "socket", "work"}
        inside = [path for path in self.folder.iterdir() if path.name not in kept]
        outside = [
            path
            for place in self._places
            for path in _matching(place, self.token)
            if path != self.folder
        ]
        for path in {*inside, *outside, *_matching(self.work, self.token)}:
            found.append(f"wrote {path}")
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return found

    def _arrived(self) -> list[str]:
        arrived = []
        for server in self._sockets:
            with suppress(OSError):  # nothing more waits, or it never listened
                while True:
                    if server.type == socket.SOCK_DGRAM:
                        server.recvfrom(4096)
                        arrived.append("UDP")
                    else:
                        server.accept()[0].close()
                        arrived.append("TCP" if server.family == socket.AF_INET else "unix")
        return arrived


def _matching(place: Path, token: str) -> list[Path]:
    try:
        return [path for path in place.iterdir() if token in path.name]
    except OSError:
        return []
