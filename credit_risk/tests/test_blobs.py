import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.auth.exceptions import GoogleAuthError

from credit_risk.storage import folder
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.blobs import BlobExists, BlobMissing


@pytest.fixture(params=["folder", "bucket"])
def blobs(request, tmp_path):
    url = (
        str(tmp_path / "bucket")
        if request.param == "folder"
        else request.getfixturevalue("gcs_url")
    )
    return open_blobs(url)


def test_blob_is_read_back_unchanged(blobs, tmp_path):
    blobs.put("a/b.txt", b"hello")
    (tmp_path / "file").write_bytes(b"from a file")
    blobs.put("a/c.bin", tmp_path / "file")
    assert blobs.get("a/b.txt") == b"hello"
    assert blobs.get("a/c.bin") == b"from a file"
    assert blobs.names("a/") == ["a/b.txt", "a/c.bin"]
    assert blobs.names("b") == []


def test_parts_of_an_opened_blob_are_read(blobs):
    content = bytes(range(256)) * 10_000  # more than is read at once
    blobs.put("a/b.bin", content)
    with blobs.open("a/b.bin") as file:
        assert file.seek(0, os.SEEK_END) == len(content)
        assert (file.seek(2_000_000), file.read(3)) == (2_000_000, content[2_000_000:2_000_003])
        assert (file.seek(10), file.read(5), file.tell()) == (10, content[10:15], 15)
        assert file.seek(-4, os.SEEK_END) == len(content) - 4
        assert file.read() == content[-4:]
    assert file.closed
    with pytest.raises(BlobMissing, match="nothing"):
        blobs.open("nothing")


def test_blob_is_not_overwritten_unless_asked(blobs):
    blobs.put("x", b"1")
    with pytest.raises(BlobExists):
        blobs.put("x", b"2")
    assert blobs.get("x") == b"1"
    blobs.put("x", b"3", overwrite=True)
    assert blobs.get("x") == b"3"
    assert blobs.names() == ["x"]


def test_missing_blob_is_reported(blobs):
    with pytest.raises(BlobMissing):
        blobs.get("nothing")
    blobs.delete("nothing")
    blobs.put("x", b"1")
    blobs.delete("x")
    assert blobs.names() == []


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "", "a/../../x"])
def test_blob_names_stay_below_the_root(blobs, name):
    with pytest.raises(ValueError, match="not a name"):
        blobs.put(name, b"")


def test_blob_is_either_whole_or_absent(tmp_path):
    blobs = open_blobs(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        blobs.put("x", Path("/nowhere"))
    assert list(tmp_path.iterdir()) == []


def test_the_disk_takes_a_file_and_its_name_before_put_returns(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        folder.os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    open_blobs(str(tmp_path)).put("decisions/a", b"x")
    assert synced[0].startswith(str(tmp_path / "decisions" / ".part-"))
    assert synced[1:] == [str(tmp_path / "decisions")]


def test_a_file_that_is_put_back_has_its_version_again(tmp_path):
    blobs, path = open_blobs(str(tmp_path / "bucket")), tmp_path / "bucket" / "a"
    blobs.put("a", b"123")
    before = blobs.version("a")
    shutil.copy2(path, tmp_path / "kept")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert blobs.version("a") != before
    path.unlink()
    shutil.copy2(tmp_path / "kept", path)
    assert blobs.version("a") == before


def test_only_half_written_files_of_dead_writers_are_removed(tmp_path):
    blobs = open_blobs(str(tmp_path))
    blobs.put("a/kept", b"1")
    (tmp_path / "a" / ".part-dead").write_bytes(b"2")
    now = datetime.now(UTC)
    blobs.tidy(now - timedelta(hours=1))
    assert (tmp_path / "a" / ".part-dead").exists(), "its writer may still be at it"
    blobs.tidy(now + timedelta(hours=1))
    assert not (tmp_path / "a" / ".part-dead").exists()
    assert blobs.names() == ["a/kept"]


def test_bucket_never_holds_a_half_written_blob(gcs_url):
    blobs = open_blobs(gcs_url)
    blobs.put("kept", b"1")
    blobs.tidy(datetime.now(UTC) + timedelta(hours=1))
    assert blobs.names() == ["kept"]


def test_bucket_is_opened_without_credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    opened = open_blobs("gs://bucket/prefix")
    assert opened.url("a") == "gs://bucket/prefix/a"
    with pytest.raises(GoogleAuthError):
        opened.get("a")
