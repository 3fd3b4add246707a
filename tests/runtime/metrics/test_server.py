"""The HTTP server of metrics: what it answers, and clients that misbehave."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from libvirt_proto.capture.address import Address, listen
from libvirt_proto.metrics import server
from libvirt_proto.metrics.server import MetricsServer

PATIENCE = 30.0


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    sockets = listen(Address("tcp", "127.0.0.1"))
    with MetricsServer(sockets, lambda accept: (f"for {accept}\n".encode(), "text/x-test")):
        yield sockets[0].getsockname()[1]


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), data


def raw(port: int, request: bytes) -> bytes:
    """The answer to a client that sends bytes and its end."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(request)
        one.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: one.recv(65536), b""))


def test_get(port: int) -> None:
    status, headers, data = ask(port, "GET", "/metrics", Accept="x/y")
    assert (status, data) == (200, b"for x/y\n")
    assert headers["Content-Type"] == "text/x-test"
    assert "Python" not in headers["Server"]
    assert ask(port, "GET", "/metrics?x=1")[0] == 200


def test_head(port: int) -> None:
    status, headers, data = ask(port, "HEAD", "/metrics")
    assert (status, headers["Content-Length"], data) == (200, "5", b"")


def test_front_page_links_to_the_metrics(port: int) -> None:
    status, _, data = ask(port, "GET", "/")
    assert status == 200
    assert b'href="/metrics"' in data


@pytest.mark.parametrize("path", ["/../etc/passwd", "/metrics/", "/metrics/../x", "/%2e%2e/x", "*"])
def test_there_is_nothing_else(port: int, path: str) -> None:
    assert ask(port, "GET", path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "<script>"])
def test_other_methods(port: int, method: str) -> None:
    status, headers, _ = ask(port, method, "/metrics")
    assert status == 501
    assert headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET /metrics HT",
        b"GET /metrics HTTP/9.9\r\n\r\n",
    ],
    ids=["nothing", "blank", "TLS", "cut", "version"],
)
def test_bytes_that_are_not_a_request(port: int, request_: bytes) -> None:
    assert b"for" not in raw(port, request_)
    assert ask(port, "GET", "/metrics")[0] == 200


def test_size_of_a_request_is_limited(port: int) -> None:
    long = b"GET /metrics HTTP/1.1\r\n" + b"A: " + b"x" * server.MAX_REQUEST + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(long[: server.MAX_REQUEST])
        # The server ends it, without the end of the request.
        with suppress(ConnectionResetError):
            assert one.recv(65536) == b""
    assert ask(port, "GET", "/metrics")[0] == 200


def test_number_of_requests_is_limited(port: int) -> None:
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            for _ in range(server.MAX_REQUESTS)
        ]
        one = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        assert one.recv(1) == b""
        for each in idle:
            each.close()
    for _ in range(1000):  # until their threads have ended
        try:
            assert ask(port, "GET", "/metrics")[0] == 200
        except (ConnectionError, http.client.BadStatusLine):
            continue
        break
    else:
        pytest.fail("no connection is accepted any more")


def test_slow_client_is_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(b"GET /metrics HTTP/1.0\r\n")
        assert one.recv(1) == b""


def test_end_does_not_wait_for_clients() -> None:
    sockets = listen(Address("tcp", "127.0.0.1"))
    port = sockets[0].getsockname()[1]
    with MetricsServer(sockets, lambda _: (b"", "text/plain")):
        one = socket.create_connection(("127.0.0.1", port), PATIENCE)
        assert ask(port, "GET", "/metrics")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE)
    one.close()
