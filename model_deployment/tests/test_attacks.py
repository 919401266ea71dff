"""Attacks by connections: one client cannot stop the service or smuggle a request.

All of it against the real server, of two processes with its default settings.
"""

import json
import re
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

HOST = b"Host: localhost\r\n"
POST = b"POST %s HTTP/1.1\r\n" + HOST + b"Content-Type: %s\r\n"
SCORE, FILES, CALLBACK = b"/api/v1/score", b"/api/v1/files", b"/_dash-update-component"
JSON, FORM = b"application/json", b"multipart/form-data; boundary=b"
NEXT = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
HELD = 100
BAR = 1.0


# Connections that are held open


def slow_body(path, type):
    return POST % (path, type) + b"Content-Length: 500000\r\n\r\n[", b" "


def slow_chunk(path, type):
    return POST % (path, type) + b"Transfer-Encoding: chunked\r\n\r\n5000\r\n[", b" "


# What each connection begins with, and what it then sends now and then.
HOLDS = {
    "nothing": (b"", b""),
    "half heads": (b"GET / HTTP/1.1\r\nX-A: ", b"a"),
    "half lines": (b"GE", b"T"),
    "no hanging up": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", b""),
    "no hanging up, HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n", b""),
    "answers that nobody reads": (b"GET /assets/riskometer.js HTTP/1.1\r\n" + HOST + b"\r\n", NEXT),
    "slow lists": slow_body(SCORE, JSON),
    "slow files": slow_body(FILES, FORM),
    "slow callbacks": slow_body(CALLBACK, JSON),
    "slow chunks": slow_chunk(SCORE, JSON),
    "slow chunks of files": slow_chunk(FILES, FORM),
    "slow sizes of chunks": (POST % (SCORE, JSON) + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "bodies at addresses without any": slow_body(b"/nothing", JSON),
    "bodies of requests without any": (
        b"GET /readyz HTTP/1.1\r\n" + HOST + b"Content-Length: 500\r\n\r\n",
        b" ",
    ),
}


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connection


@contextmanager
def held(server, start, more, n=HELD):
    """Hold `n` connections open, each of which sends a little twice a second."""
    done = threading.Event()

    def go_on(connections):
        while not done.wait(0.5):
            for connection in connections:
                with suppress(OSError):
                    connection.send(more)

    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(n)]
        for connection in connections:
            connection.sendall(start)
            connection.setblocking(False)
            if start.startswith(b"GET /assets"):
                with suppress(BlockingIOError):
                    connection.send(start * 200)
        thread = threading.Thread(target=go_on, args=(connections,))
        thread.start()
        try:
            yield connections
        finally:
            done.set()
            thread.join()


def slowest(server, clients, seconds=2.0):
    """Return the longest that health, and a score, took from another connection."""
    longest = {"healthz": 0.0, "score": 0.0}
    asks = {"healthz": lambda: server.get("/healthz"), "score": lambda: server.score(clients[:1])}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, ask in asks.items():
            began = time.perf_counter()
            status, body = ask()
            assert status == 200, body
            longest[name] = max(longest[name], time.perf_counter() - began)
    return longest


@pytest.mark.alone
@pytest.mark.slow  # the next test has them all at once
@pytest.mark.parametrize("kind", HOLDS)
def test_held_connections_delay_nobody(server, client_rows, kind, record_property):
    for attempt in range(2):  # a machine that is busy with other things may be slow once
        with held(server, *HOLDS[kind]):
            time.sleep(0.5)
            longest = slowest(server, client_rows)
        if max(longest.values()) < BAR or attempt:
            break
    record_property("slowest", longest)
    assert max(longest.values()) < BAR, (kind, longest, "without it:", slowest(server, client_rows))


@pytest.mark.alone
def test_held_connections_of_all_kinds_delay_nobody(server, client_rows):
    for attempt in range(2):
        with ExitStack() as stack:
            for start, more in HOLDS.values():
                stack.enter_context(held(server, start, more, n=20))
            longest = slowest(server, client_rows)
        if max(longest.values()) < BAR or attempt:
            break
    assert max(longest.values()) < BAR, longest


@pytest.mark.alone
def test_unread_large_answers_delay_nobody(server, client_rows):
    scripts = re.findall(r'src="([^"]*_dash-component-suites[^"]*)"', server.get("/")[1])
    largest = max(scripts, key=lambda path: len(server.get("/" + path.lstrip("/"))[1]))
    ask = f"GET /{largest.lstrip('/')} HTTP/1.1\r\n".encode() + HOST + b"\r\n"
    for attempt in range(2):
        with held(server, ask * 2, b""):
            longest = slowest(server, client_rows)
        if max(longest.values()) < BAR or attempt:
            break
    assert max(longest.values()) < BAR, longest


@pytest.mark.slow
def test_slow_client_is_dropped(server):
    """A head has 30 s, and a body 20 s and a second for each 1,000 bytes."""
    starts = {
        name: HOLDS[name]
        for name in ("nothing", "half heads", "slow lists", "slow files", "slow chunks")
    }
    with ExitStack() as stack:
        connections = {
            name: stack.enter_context(held(server, *start, n=1))[0]
            for name, start in starts.items()
        }
        time.sleep(35)
        for name, connection in connections.items():
            connection.setblocking(True)
            connection.settimeout(5)
            answer = until_closed(connection)[0]
            if name.startswith("slow"):
                assert answer.startswith(b"HTTP/1.1 408 "), name
                assert b"application/problem+json" in answer
            else:
                assert answer[:13] in (b"", b"HTTP/1.1 408 "), name


# Requests in which another could hide


STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def until_closed(connection, n=0, patience=10.0):
    """Return all that comes and whether the server hung up; wait only briefly after `n` answers."""
    came = b""
    try:
        while True:
            connection.settimeout(patience if not n or len(STATUS.findall(came)) < n else 0.3)
            if not (data := connection.recv(65536)):
                break
            came += data
    except TimeoutError:
        return came, False
    except OSError:
        pass
    return came, True


def ask(server, *parts, n=0):
    """Send parts in turn; return the statuses, all that is answered, and if the server hung up."""
    with connect(server) as connection:
        for n_sent, part in enumerate(parts):
            time.sleep(0.1 if n_sent else 0)  # so that each comes by itself
            with suppress(OSError):
                connection.sendall(part)
        came, closed = until_closed(connection, n)
    return [int(status) for status in STATUS.findall(came)], came, closed


CHUNKS = {
    "no number": b"zz\r\n",
    "less than none": b"-1\r\n",
    "with a plus": b"+2\r\n[]\r\n0\r\n\r\n",
    "as in a program": b"0x10\r\n",
    "too large": b"f" * 17 + b"\r\n",
    "without its end": b"2\r\n[]x",
    "a space before": b" 2\r\n[]\r\n0\r\n\r\n",
    "bare CR in an extension": b"2;a\rb\r\n[]\r\n0\r\n\r\n",
    "bare LF in an extension": b"2;\nxx\r\n4c\r\n[]\r\n0\r\n\r\n",
    "bare LF": b"2\n[]\n0\n\n",
    "a long extension": b"2;" + b"a" * 20_000 + b"\r\n[]\r\n0\r\n\r\n",
    "a length as trailer": b"2\r\n[]\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a coding as trailer": b"2\r\n[]\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "any trailer": b"2\r\n[]\r\n0\r\nA: b\r\n\r\n",
    "a trailer without a name": b"2\r\n[]\r\n0\r\nA b: 5\r\n\r\n",
    "bare LF in a trailer": b"2\r\n[]\r\n0\r\nA: 5\nGET\r\n\r\n",
}


@pytest.mark.parametrize("kind", CHUNKS)
@pytest.mark.parametrize(("path", "type"), [(SCORE, JSON), (FILES, FORM), (CALLBACK, JSON)])
def test_a_broken_chunk_is_a_problem_and_ends_the_connection(server, kind, path, type):
    before = server.log_file.read_text()
    head = POST % (path, type) + b"Transfer-Encoding: chunked\r\n\r\n"
    statuses, came, closed = ask(server, head, CHUNKS[kind])
    assert (statuses, closed) == ([400], True)
    head, _, body = came.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["type"].removeprefix("urn:risk-o-meter:") in ("incomplete", "trailers")
    statuses, _, closed = ask(server, head, CHUNKS[kind], NEXT)
    assert closed
    assert statuses in ([], [400]), "what comes behind is no request"
    assert "Traceback" not in server.log_file.read_text()[len(before) :]


def request(*lines, body=b"", start=b"POST /api/v1/score HTTP/1.1", host=b"Host: localhost"):
    return b"\r\n".join([start, *filter(None, [host]), *lines, b"", b""]) + body


def hiding(start=b"POST /api/v1/score HTTP/1.1", **more):
    return request(b"Content-Length: %d" % len(NEXT), body=NEXT, start=start, **more)


def length(text, body=b"[]"):
    return request(b"Content-Type: application/json", b"Content-Length: " + text, body=body)


def coded(*lines, body=b"2\r\n[]\r\n0\r\n\r\n", **more):
    return request(b"Content-Type: application/json", *lines, body=body, **more)


def with_header(line):
    return request(b"Content-Type: application/json", line, b"Content-Length: 2", body=b"[]")


# What two readers could take for two things: refused, and nothing behind it is read.
TWO_MEANINGS = {
    "length and chunks": coded(
        b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"
    ),
    "chunks and length": coded(b"Transfer-Encoding: chunked", b"Content-Length: 4"),
    "xchunked": coded(b"Transfer-Encoding: xchunked"),
    "chunked, identity": coded(b"Transfer-Encoding: chunked, identity"),
    "identity, chunked": coded(b"Transfer-Encoding: identity, chunked"),
    "gzip, chunked": coded(b"Transfer-Encoding: gzip, chunked"),
    "chunked twice": coded(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked, chunked": coded(b"Transfer-Encoding: chunked, chunked"),
    "a space before the colon": coded(b"Transfer-Encoding : chunked"),
    "a vertical tab": coded(b"Transfer-Encoding: \x0bchunked"),
    "chunks in HTTP/1.0": coded(
        b"Transfer-Encoding: chunked", start=b"POST /api/v1/score HTTP/1.0"
    ),
    "another length": request(b"Content-Length: 2", b"Content-Length: 3", body=b"[]"),
    "a list of lengths": length(b"2, 2"),
    "a list of lengths that differ": length(b"2, 3"),
    "a length with +": length(b"+2"),
    "a length with -": length(b"-2"),
    "a length with 0x": length(b"0x2"),
    "a length with _": length(b"1_0", body=b"[]" * 5),
    "a length with a space": length(b"2 2"),
    "a length beyond all": length(b"1" + b"0" * 30),
    "no length": length(b""),
    "a folded line": with_header(b"X: a\r\n b"),
    "CR": with_header(b"X: a\rb"),
    "NUL": with_header(b"X: a\0b"),
    "no name": with_header(b": a"),
    "a name with a space": with_header(b"A b: a"),
    "two hosts": with_header(HOST.strip()),
    "another host": with_header(b"Host: evil.example"),
    "two types": with_header(b"Content-Type: text/csv"),
    "two keys": request(
        b"Idempotency-Key: a", b"Idempotency-Key: b", b"Content-Length: 2", body=b"[]"
    ),
    "101 headers": with_header(b"\r\n".join(b"X-%d: a" % i for i in range(101))),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
}


@pytest.mark.parametrize("kind", TWO_MEANINGS)
def test_ambiguous_request_is_refused(server, kind):
    statuses, _, closed = ask(server, TWO_MEANINGS[kind], NEXT)
    assert closed
    assert not statuses or (len(statuses) == 1 and 400 <= statuses[0] < 500)


# What is refused as it means one thing, so that the next is a request of its own.
REFUSED = {
    "a header of 9 kB": (with_header(b"X: " + b"a" * 9000), 431),
    "an address of 9 kB": (request(start=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    "no host": (request(start=b"GET /healthz HTTP/1.1", host=None), 400),
    "a foreign host": (request(start=b"GET /healthz HTTP/1.1", host=b"Host: evil.example"), 400),
    "a foreign authority": (
        request(start=b"GET http://evil.example/healthz HTTP/1.1", host=None),
        400,
    ),
    "TRACE": (request(start=b"TRACE /healthz HTTP/1.1"), 405),
    "CONNECT": (request(start=b"CONNECT localhost:80 HTTP/1.1"), 404),
    "an expectation": (with_header(b"Expect: miracles"), 417),
    "a request in what is not found": (hiding(b"POST /x HTTP/1.1"), 404),
    "a request of another type": (hiding(), 415),
    "a request to a foreign host": (hiding(host=b"Host: evil.example"), 400),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_request_hides_no_other(server, kind):
    data, status = REFUSED[kind]
    assert ask(server, data, NEXT, n=2)[0] == [status, 200]


def test_body_of_a_get_hides_no_request(server):
    assert ask(server, hiding(b"GET /healthz HTTP/1.1"), NEXT, n=2)[0] == [200, 200]


def test_lf_alone_ends_a_header_line(server):
    """So a proxy in front has to refuse it, or write lines of its own, as RFC 9110 asks of it."""
    assert ask(server, NEXT.replace(b"\r\n", b"\n"), NEXT, n=2)[0] == [200, 200]
    assert ask(server, with_header(b"X: a\nHost: evil.example"), n=1)[0] == [400]


def test_protocol_upgrade_is_ignored(server):
    upgrade = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    )
    assert ask(server, request(*upgrade, start=b"GET /healthz HTTP/1.1"), NEXT, n=2)[0] == [
        200,
        200,
    ]


def test_header_with_underscore_does_not_replace_one_with_dash(server):
    foreign = request(b"Content-Type: application/json", b"Content-Length: 2", b"X: a", body=b"[]")
    assert ask(server, foreign.replace(b"X: a", b"Origin: http://evil.example"), n=1)[0] == [403]
    assert ask(server, foreign.replace(b"Content-Type", b"Content_Type"), n=1)[0] == [415]


def test_expect_continue_is_answered(server, client_rows):
    body = json.dumps(client_rows[:1]).encode()
    head = POST % (SCORE, JSON) + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert ask(server, head, body, n=2)[0] == [100, 200]


def test_malformed_callbacks_do_not_fill_the_log(server):
    before = len(server.log_file.read_text())
    for body in (b"[]", b"{}", b"{", b'{"output":"x.y"}', b"[" * 5000):
        head = POST % (CALLBACK, JSON) + b"Content-Length: %d\r\n\r\n" % len(body)
        statuses = ask(server, head + body, n=1)[0]
        assert len(statuses) == 1
        assert 400 <= statuses[0] < 500
    assert len(server.log_file.read_text()) == before
