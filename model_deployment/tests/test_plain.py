"""What is plain is read as gunicorn reads it, and nothing is let in that gunicorn would not let in."""

import io

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_deployment import plain

CLIENT, SERVER = ("192.0.2.7", 5000), ("127.0.0.1", 9696)
KNOWN = {"wsgi.url_scheme": "http", "SCRIPT_NAME": ""}
BODY = b'[{"age": 30, "purpose": "new car"}]'
HEADERS = [
    b"Host: localhost:9696",
    b"Content-Type: application/json",
    b"Content-Length: %d" % len(BODY),
    b"Accept: */*",
    b"Idempotency-Key:one two\t",
    b"Connection: keep-alive",
    b"User-Agent: caf\xe9/1",
    b"X-Forwarded-For: 192.0.2.1, 192.0.2.2",
]
LINE = b"POST /api/v1/score?reasons=true HTTP/1.1"


def request(line=LINE, headers=HEADERS, body=BODY):
    return b"\r\n".join([line, *headers, b"", body])


def without(name):
    return [header for header in HEADERS if not header.lower().startswith(name)]


def gunicorns(data):
    """Return gunicorn's environ of the one request that this is; None where it refuses, or waits for more."""
    config = Config()
    # The data come from a socket there: some bytes at a time, and none where there are no more yet.
    parser = RequestParser(config, iter([data]), CLIENT)
    try:
        read = next(parser)
        body = read.body.read()
    except (ParseException, NoMoreData, StopIteration):
        return None
    if len(body) != int(dict(read.headers).get("CONTENT-LENGTH", 0)) or parser.unreader.take_buffered():
        return None
    return wsgi.create(read, None, CLIENT, SERVER, config)[1] | {"wsgi.input": io.BytesIO(body)}


def same(ours, theirs):
    """Whether all that we say, and every header, is what gunicorn says."""
    for environ in (ours, theirs):
        environ["wsgi.input"] = environ["wsgi.input"].getvalue()
    headers = {key for key in theirs if key.startswith(("HTTP_", "CONTENT_"))}
    return all(ours.get(key) == theirs.get(key) for key in {*ours, *headers})


def test_a_plain_request_is_read_as_gunicorn_reads_it():
    found = plain.read(request(), KNOWN)
    assert found
    assert found["wsgi.input"].getvalue() == BODY
    assert found["HTTP_IDEMPOTENCY_KEY"] == "one two"
    assert found["QUERY_STRING"] == "reasons=true"
    found["wsgi.input"].seek(0)
    assert same(found, gunicorns(request()))


ODD = {
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01",
    "head only": request(body=b""),
    "half a body": request(body=BODY[:-1]),
    "a line end before it": b"\r\n" + request(),
    "half a head": request()[:60],
    "something behind it": request(body=BODY + b"x"),
    "a line end behind it": request(body=BODY + b"\r\n"),
    "another behind it": request() * 2,
    "half another behind it": request() + request()[:20],
    "another method": request(b"PUT /api/v1/score HTTP/1.1"),
    "two spaces": request(b"POST /api/v1/score  HTTP/1.1"),
    "another version": request(b"POST /api/v1/score HTTP/1.0"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a whole address": request(b"POST http://localhost/api/v1/score HTTP/1.1"),
    "two slashes": request(b"POST //localhost/api HTTP/1.1"),
    "escapes": request(b"POST /api/v1/sc%6Fre HTTP/1.1"),
    "a fragment": request(b"POST /api/v1/score#a HTTP/1.1"),
    "no length": request(headers=without(b"content-length")),
    "two lengths": request(headers=[*HEADERS, b"Content-Length: 1"]),
    "twice the same length": request(headers=[*HEADERS, HEADERS[2]]),
    "a signed length": request(headers=[*without(b"content-length"), b"Content-Length: +%d" % len(BODY)]),
    "chunks": request(headers=[*without(b"content-length"), b"Transfer-Encoding: chunked"], body=b"0\r\n\r\n"),
    "chunks and a length": request(headers=[*HEADERS, b"Transfer-Encoding: chunked"]),
    "two hosts": request(headers=[*HEADERS, b"Host: evil.example"]),
    "a space before the colon": request(headers=[*HEADERS, b"Accept-Encoding : gzip"]),
    "a header that goes on": request(headers=[*HEADERS, b"Accept-Encoding: gzip\r\n b"]),
    "a control character": request(headers=[*HEADERS, b"Accept-Encoding: a\x00b"]),
    "lines without returns": request().replace(b"\r\n", b"\n"),
    "a scheme": request(headers=[*HEADERS, b"X-Forwarded-Proto: https"]),
    "an underscore": request(headers=[*HEADERS, b"X_Forwarded_For: 192.0.2.9"]),
    "an expectation": request(headers=[*HEADERS, b"Expect: 100-continue"]),
    "an upgrade": request(headers=[*HEADERS, b"Upgrade: h2c"]),
    "a page's": request(headers=[*HEADERS, b"Origin: http://localhost:9696"]),
    "two ways to go on": request(headers=[*without(b"connection"), b"Connection: keep-alive, upgrade"]),
    "its last": request(headers=[*without(b"connection"), b"Connection: close"]),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
def test_what_is_odd_is_left_to_gunicorn(data):
    assert plain.read(data, KNOWN) is None


PIECES = st.sampled_from(
    [b"", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"\x7f", b"\xff", b"/", b"?", b"#", b"%2f", b"0", b",", b"-"]
) | st.binary(min_size=1, max_size=3)


@settings(max_examples=1500, deadline=None)
@given(
    st.permutations(HEADERS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 6), PIECES), max_size=3),
)
@example(HEADERS, [])
@example(HEADERS, [(len(request()), 0, b"\r\n")])
def test_whatever_is_plain_is_what_gunicorn_reads(headers, changes):
    data = request(headers=headers)
    for at, gone, come in changes:
        data = data[:at] + come + data[at + gone :]
    ours = plain.read(data, KNOWN)
    if ours is not None:
        theirs = gunicorns(data)
        assert theirs is not None
        assert same(ours, theirs)


def test_the_longest_that_is_read_is_none_too_long_for_gunicorn():
    rest = request(b"POST /?", headers=HEADERS[2:3]).partition(b"?")[2]
    query = b"a" * (plain.MAX_BYTES - len(rest) - len(b"POST /api? HTTP/1.1"))
    data = request(b"POST /api?%b HTTP/1.1" % query, headers=HEADERS[2:3])
    assert len(data) == plain.MAX_BYTES
    assert plain.read(data, KNOWN)["QUERY_STRING"] == gunicorns(data)["QUERY_STRING"] == query.decode()


def test_an_answer_is_whole_and_says_how_long_it_is():
    closed = []

    class Parts(list):
        def close(self):
            closed.append(True)

    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("X", "1")])
        return Parts([b"one ", environ["wsgi.input"].read()])

    head, _, body = plain.answer(app, {"wsgi.input": io.BytesIO(b"two")}).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert (status, body) == ("HTTP/1.1 200 OK", b"one two")
    assert [line.split(": ")[0] for line in lines] == [
        "Server",
        "Date",
        "Connection",
        "Content-Type",
        "X",
        "Content-Length",
    ]
    assert lines[-1] == "Content-Length: 7"
    assert closed


def test_an_answer_that_says_how_long_it_is_is_not_told_again():
    def app(environ, start_response):
        start_response("204 NO CONTENT", [("content-length", "0")])
        return []

    assert plain.answer(app, {}).lower().count(b"content-length") == 1
