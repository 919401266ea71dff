"""Bodies are received whole or not at all, and slow senders are dropped."""

import asyncio
import io
import resource
import tempfile
from types import SimpleNamespace

import pytest
from werkzeug.datastructures import FileStorage

from model_deployment.http import receiving
from model_deployment.http.problem import Problem
from model_deployment.http.receiving import IN_MEMORY, UploadLimiter, content

LIMIT = 3_000_000
FORM = "multipart/form-data; boundary=b"


def coming(*parts, pause=0.0, end=True):
    """Return a source of a body in parts, as a server gives it; without `end` it breaks off."""
    left = list(parts)

    async def receive():
        await asyncio.sleep(pause)
        if left:
            part = left.pop(0)
            return (
                {"type": "http.request", "body": part, "more_body": True}
                if isinstance(part, bytes)
                else part
            )
        if not end:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def take(receive, type="application/json", length=None, receiver=None):
    return asyncio.run((receiver or UploadLimiter(LIMIT, 2)).take(type, length, receive))


def refused(receive, **more):
    with pytest.raises(Problem) as error:
        take(receive, **more)
    return error.value.status, error.value.kind


def form(*files, field="file"):
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%b"; filename="f%d"\r\n\r\n%b\r\n'
        % (field.encode(), i, data)
        for i, data in enumerate(files)
    ]
    return b"".join([*parts, b"--b--\r\n"])


def in_pieces(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, LIMIT])
@pytest.mark.parametrize("said", [True, False])
def test_body_is_received_whole(size, said):
    data = bytes(i % 251 for i in range(size))
    body = take(coming(*in_pieces(data, 300_000)), length=size if said else None)
    assert (body.stream.read(), body.size, body.files) == (data, size, [])
    body.close()


@pytest.mark.parametrize("size", [0, 1, 70_000, IN_MEMORY + 1, 2_000_000])
@pytest.mark.parametrize("piece", [1_000, 65_536, 400_000])
def test_file_is_received_whole_in_any_pieces(size, piece):
    data = bytes(i % 251 for i in range(size))
    body = take(coming(*in_pieces(form(data), piece)), FORM)
    (file,) = body.files
    assert bytes(content(file)) == data
    assert file.filename == "f0"
    body.close()


@pytest.mark.parametrize(
    ("data", "type", "n"),
    [
        (form(b"1", b"2", b"3"), FORM, 3),
        (form(b"1", field="other"), FORM, 0),
        (form(), FORM, 0),
        (form(b"1")[:-10], FORM, 0),
        (b"no form", FORM, 0),
        (form(b"1"), "multipart/form-data", 0),
        (form(b"1"), "multipart/form-data; boundary=\xff", 0),
    ],
)
def test_files_of_a_form_are_counted(data, type, n):
    assert len(take(coming(data), type).files) == n


@pytest.mark.parametrize(
    "data", [form(*[b""] * 1001), form(b"", b"x" * 600_000), b"--b\r\nA: " + b"x" * 600_000]
)
def test_form_with_too_many_fields_is_refused(data):
    assert refused(coming(data), type=FORM) == (413, "too-large")


def test_body_over_the_limit_is_refused_as_soon_as_known():
    assert refused(coming(end=False), length=LIMIT + 1) == (413, "too-large")
    assert refused(coming(*[b"x" * 1_000_000] * 4)) == (413, "too-large")


def test_truncated_body_is_refused():
    assert refused(coming(b"[", {"type": "http.disconnect"}), length=10) == (400, "incomplete")


def test_sender_below_the_least_rate_is_dropped(monkeypatch):
    monkeypatch.setattr(receiving, "GRACE_SECONDS", 0.2)
    assert refused(coming(b"[", end=False), length=10) == (408, "too-slow")


def test_a_byte_now_and_then_is_too_slow_and_the_least_rate_is_not(monkeypatch):
    now = 0.0
    monkeypatch.setattr(receiving, "time", SimpleNamespace(monotonic=lambda: now))

    def every_five_seconds(part):
        receive = coming(*[part] * 20)

        async def later():
            nonlocal now
            now += 5
            return await receive()

        return later

    assert refused(every_five_seconds(b" ")) == (408, "too-slow")
    assert take(every_five_seconds(b" " * 5_000)).size == 100_000


def test_large_bodies_are_limited_and_small_ones_are_not():
    async def several():
        receiver, go = UploadLimiter(LIMIT, 2), asyncio.Event()

        def big():
            given = coming(b"x" * 700_000)

            async def receive():
                message = await given()
                if not message["body"]:
                    await go.wait()
                return message

            return receiver.take(None, None, receive)

        held = [asyncio.ensure_future(big()) for _ in range(2)]
        await asyncio.sleep(0.3)
        with pytest.raises(Problem, match="2 uploads are under way") as busy:
            await big()
        assert (busy.value.status, busy.value.headers["Retry-After"]) == (503, "5")
        assert (await receiver.take(None, None, coming(b"x" * 1000))).size == 1000
        go.set()
        assert [body.size for body in await asyncio.gather(*held)] == [700_000] * 2
        assert (await big()).size == 700_000

    asyncio.run(several())


@pytest.fixture
def full_disk():
    """Limit files to the bytes that a body may have in memory, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (IN_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_disk_full_from_the_start_is_reported(full_disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)  # as in a process that has written no file yet
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert refused(coming(b"x" * 700_000)) == (503, "no-space")


@pytest.mark.parametrize("size", [999, 8192, 100_000, 700_000])
@pytest.mark.parametrize("type", ["text/csv", FORM])
def test_full_disk_is_reported_for_any_pieces_of_a_body(full_disk, type, size):
    data = b"x" * 800_000
    body = form(data) if type == FORM else data
    assert refused(coming(*in_pieces(body, size)), type=type) == (503, "no-space")


@pytest.mark.parametrize("size", [0, 1, 512_001, 3_000_000])
def test_a_file_outlives_its_upload(size):
    data = bytes(i % 251 for i in range(size))
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as spooled:
        spooled.write(data)
        found = content(FileStorage(spooled, "clients.csv"))
    assert bytes(found) == data
    assert (
        bytes(content(FileStorage(io.BytesIO(data), "clients.csv"))) == data
        if size <= IN_MEMORY
        else True
    )
