"""The sockets: two origins, each on a port of its own, which take requests and send answers, or do not."""

import contextlib
import secrets
import socket
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

from tests.loopback_hub import api, storage
from tests.loopback_hub.faults import Fault
from tests.loopback_hub.messages import Answer, RefusalError, Request
from tests.loopback_hub.state import State

_SLOW_PIECES = 8
_LOST = (ConnectionError, TimeoutError)


class _Given:
    """Stands for the hub's own token as a default."""


class LoopbackHub(State):
    """A Hub on this machine, for the time of a `with` block.

    Args:
        folder: for Xet's local store; empty or absent.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._servers = {"hub": self._listen("hub", api.answer), "storage": self._listen("storage", storage.answer)}
        self.endpoint, self.storage = (f"http://127.0.0.1:{self._servers[name].server_port}" for name in self._servers)

    def _listen(self, origin: str, answer: Callable[[State, Request, bytes], Answer]) -> "_Server":
        server = _Server(("127.0.0.1", 0), _Handler)
        server.hub, server.origin, server.answer = self, origin, answer
        return server

    def __enter__(self) -> Self:
        for server in self._servers.values():
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        if self.errors and kind is None:
            raise AssertionError(f"{len(self.errors)} requests broke the loopback Hub") from self.errors[0]

    def xet_bytes(self) -> int:
        """Bytes of all contents in Xet's local store."""
        return self.xet.count_bytes()

    def environment(
        self, home: Path, *, xet: bool = False, token: str | type[_Given] | None = _Given
    ) -> dict[str, str]:
        """Variables that lead the real clients here.

        Args:
            home: `HF_HOME`.
            xet: whether uploads and downloads go through Xet.
            token: `HF_TOKEN`; None for a client that is not logged in.
        """
        variables = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_XET_XORB_COMPRESSION_POLICY": "none",
            "HF_XET_TELEMETRY_ENABLED": "0",
            "NO_PROXY": "127.0.0.1",
        }
        if token is not None:
            variables["HF_TOKEN"] = self.token if token is _Given else str(token)
        return variables


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    hub: LoopbackHub
    origin: str
    answer: Callable[[State, Request, bytes], Answer]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is no error."""
        error = sys.exception()
        if error is not None and not isinstance(error, _LOST):
            self.hub.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests are recorded."""

    def handle_request(self) -> None:
        """Any method."""
        headers = {name.lower(): text for name, text in self.headers.items()}
        hub, request = self.server.hub, Request(self.command, self.path, self.server.origin, headers)
        with hub.lock:
            hub.requests.append(request)
            fault = hub.faults.strike(request)
        try:
            if fault and fault.kind == "drop":
                self._hang_up()
                return
            body = self._read_body()
            request.body_length = len(body)
            request.body = body if request.origin == "hub" else b""
            answer = fault.make_answer() if fault and fault.kind == "status" else self._work(request, body)
            if fault and fault.kind == "drop_after":
                self._hang_up()
                return
            request.status = answer.status
            self._send(answer, fault)
        except _LOST:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = handle_request

    def _work(self, request: Request, body: bytes) -> Answer:
        try:
            return self.server.answer(self.server.hub, request, body)
        except RefusalError as refusal:
            return refusal.as_answer()
        except Exception as error:
            self.server.hub.errors.append(error)
            return RefusalError(500, f"the loopback Hub broke: {error!r}").as_answer()

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        length = int(self.headers.get("Content-Length", "0"))
        return self._read(length)

    def _read_chunks(self) -> bytes:
        chunks = []
        while size := self._read_chunk_size():
            chunks.append(self._read(size))
            if self.rfile.readline(10) != b"\r\n":
                raise ConnectionError("a chunk is longer than its head says")
        while self.rfile.readline(1000).strip():
            pass
        return b"".join(chunks)

    def _read_chunk_size(self) -> int:
        try:
            return int(self.rfile.readline(1000).split(b";")[0], 16)
        except ValueError:
            raise ConnectionError("the client is gone") from None

    def _read(self, length: int) -> bytes:
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionError("the client is gone")
        return data

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        self.send_response(answer.status)
        for name, text in answer.headers.items():
            self.send_header(name, text.encode("ascii", "replace").decode().replace("\n", " "))
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Request-Id", secrets.token_hex(8))
        self.end_headers()
        body = b"" if self.command == "HEAD" else answer.body
        if fault and fault.kind == "truncate":
            self.wfile.write(body[: len(body) // 2])
            self._hang_up()
        elif fault and fault.kind == "slow":
            self._trickle(body, fault.seconds)
        else:
            self.wfile.write(body)
        with contextlib.suppress(ValueError):
            self.wfile.flush()

    def _trickle(self, body: bytes, seconds: float) -> None:
        size = max(1, -(-len(body) // _SLOW_PIECES))
        for first in range(0, len(body), size):
            time.sleep(seconds / _SLOW_PIECES)
            self.wfile.write(body[first : first + size])
            self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError, ValueError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
