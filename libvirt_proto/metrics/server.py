"""An HTTP server for one text: GET /metrics, and a page at / that links there.

Clients are hostile: requests are limited in size, in time and in number, and nothing in them is logged or
opened. TLS and authentication are left to a proxy.
"""

from __future__ import annotations

import io
import socket
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PATH: Final = "/metrics"
#: Requests that are answered at a time; further connections are closed.
MAX_REQUESTS: Final = 8
#: Seconds that a client has to send its request, and to read the answer.
PATIENCE: Final = 10.0
#: Maximum size of a request in bytes.
MAX_REQUEST: Final = 16384

#: From the header `Accept` to the text and its type.
Render = Callable[[str], tuple[bytes, str]]

_PAGE: Final = f'<!doctype html><title>libvirt-proto</title><a href="{PATH}">Metrics</a>\n'.encode()


class MetricsServer:
    """Answers on listening sockets, in threads of their own, while its block runs."""

    def __init__(self, sockets: Iterable[socket.socket], render: Render) -> None:
        self._servers = [_Server(each, render) for each in sockets]
        self._threads = [
            Thread(target=each.serve_forever, name="metrics", daemon=True) for each in self._servers
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False  # a slow client does not delay the end

    def __init__(self, listener: socket.socket, render: Render) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.render: Final = render
        self._free = BoundedSemaphore(MAX_REQUESTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there are not too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that are gone; report faults of this program."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Request(io.RawIOBase):
    """The bytes of a request, as far as they arrive in time and fit."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._until = time.monotonic() + PATIENCE
        self._room = MAX_REQUEST

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what is there. Raises TimeoutError, also for a request that is too large."""
        left = self._until - time.monotonic()
        if left <= 0 or self._room <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        count = self._connection.recv_into(memoryview(buffer)[: self._room])
        self._room -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "libvirt-proto"
    sys_version = ""
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"

    def setup(self) -> None:
        """Limit what is read."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Request(self.connection))

    def do_GET(self) -> None:
        """Send the metrics, or the page."""
        path = self.path.partition("?")[0]
        if path == PATH:
            data, content_type = self.server.render(self.headers.get("Accept", ""))
        elif path == "/":
            data, content_type = _PAGE, "text/html; charset=utf-8"
        else:
            self.send_error(HTTPStatus.NOT_FOUND, f"the metrics are at {PATH}")
            return
        self.connection.settimeout(PATIENCE)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        """Send the same without the text."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: what clients send is theirs."""
