"""Files that are kept by their digest."""

import hashlib
import logging
import os
import subprocess
import sys
import time

import pytest

from credit_risk.registry.model_cache import MAX_FILES, ModelCache


def digest(data):
    return hashlib.sha256(data).hexdigest()


def test_cached_model_is_found_by_its_digest(tmp_path):
    kept = ModelCache(tmp_path / "models")
    assert kept.get(digest(b"one")) is None
    kept.put(b"one")
    kept.put(b"one")
    assert ModelCache(tmp_path / "models").get(digest(b"one")) == b"one"
    assert [path.name for path in (tmp_path / "models").iterdir()] == [digest(b"one")]
    assert (tmp_path / "models").stat().st_mode & 0o777 == 0o700
    assert next((tmp_path / "models").iterdir()).stat().st_mode & 0o077 == 0


def test_changed_cache_file_is_not_used_and_stored_anew(tmp_path, caplog):
    kept = ModelCache(tmp_path)
    kept.put(b"one")
    (tmp_path / digest(b"one")).write_bytes(b"another")
    assert kept.get(digest(b"one")) is None
    assert "another file than its name says" in caplog.text
    kept.put(b"one")
    assert kept.get(digest(b"one")) == b"one"


def test_name_that_is_not_a_digest_is_not_a_path(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    kept = ModelCache(tmp_path / "models")
    kept.put(b"one")
    for name in (
        "../secret",
        "",
        ".",
        "/etc/passwd",
        digest(b"one").upper(),
        f"{digest(b'one')}\n",
    ):
        assert kept.get(name) is None


def test_cache_keeps_the_newest_models(tmp_path):
    kept = ModelCache(tmp_path)
    contents = [str(n).encode() for n in range(MAX_FILES)]
    for age, data in enumerate(reversed(contents)):
        kept.put(data)
        os.utime(tmp_path / digest(data), (1e9 + age, 1e9 + age))
    oldest, next_oldest = digest(contents[-1]), digest(contents[-2])
    assert kept.get(oldest) == contents[-1]  # used, and so the newest
    kept.put(b"another")
    assert len(list(tmp_path.iterdir())) == MAX_FILES
    assert kept.get(oldest) == contents[-1]
    assert kept.get(next_oldest) is None


def test_files_that_a_killed_process_half_wrote_are_removed(tmp_path):
    abandoned, fresh = tmp_path / ".part-abandoned", tmp_path / ".part-fresh"
    for file in (abandoned, fresh):
        file.write_bytes(b"half")
    os.utime(abandoned, (time.time() - 7200,) * 2)
    ModelCache(tmp_path).put(b"one")
    assert {path.name for path in tmp_path.iterdir()} == {fresh.name, digest(b"one")}


def test_cache_without_a_writable_folder_is_skipped(tmp_path, caplog, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        ModelCache(tmp_path / "file" / "models").put(b"one")
    assert "is not kept in" in caplog.text

    def full(*_):
        raise OSError(28, "No space left on device")

    kept = ModelCache(tmp_path / "models")
    monkeypatch.setattr(os, "fsync", full)
    kept.put(b"two")
    assert "No space left" in caplog.text
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
def test_cache_lock_admits_one_process_at_a_time(tmp_path):
    program = """
import sys, time
from pathlib import Path
from credit_risk.registry.model_cache import ModelCache
with ModelCache(Path(sys.argv[1])).locked():
    print(f"{time.time()}", flush=True)
    time.sleep(0.5)
    print(f"{time.time()}", flush=True)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "models")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    (a, b), (c, d) = sorted(
        [float(time) for time in process.communicate(timeout=60)[0].split()] for process in both
    )
    assert a < b <= c < d
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_cache_works_without_a_lock(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with ModelCache(tmp_path / "file" / "models").locked():
        pass
