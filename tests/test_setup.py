"""`make setup`: its messages about missing parts, and that it runs again only for a new lock."""

import os
import shutil
import subprocess

import pytest

from tools.paths import ROOT

# Stand-ins for programs: setup sees only what they print and do.
NO_VENV = 'case "$*" in *ensurepip*) echo "comes without venv";; esac'
OLD = 'case "$*" in *ensurepip*) echo "is version 3.9";; esac'
GOOD = """case "$*" in
*"-m venv"*)
    echo "made by $0" > made-by
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    cp bin/uv .venv/bin/uv ;;
*libgomp*) [ ! -e no-libgomp ] ;;
*"-m pip --version"*) [ -e .venv/bin/python ] ;;
*--version*) echo "Python 3.11.7" ;;
esac"""
UV = """case "$1" in
--version) echo "uv $(cat uv-version 2>/dev/null)" ;;
sync) echo "$@" >> synced ;;
esac"""


@pytest.fixture
def place(tmp_path):
    """A copy of what `make setup` needs, on a machine with stand-ins for Python and uv."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("Makefile", "uv.lock", "tools/setup.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("sh", "sed", "cut", "dirname", "touch", "uname", "mkdir", "cp", "cat", "make"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    program(tmp_path, "uv", UV)
    return tmp_path


def program(place, name, script):
    file = place / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def setup(place, **variables):
    return subprocess.run(
        ["make", "--no-print-directory", "setup"],
        cwd=place,
        env={"PATH": str(place / "bin"), "HOME": os.environ.get("HOME", "/"), **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )


def complaint(place, **variables):
    """Return the one line with which setup fails (make adds its own)."""
    done = setup(place, **variables)
    assert done.returncode != 0
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make: ")]
    assert len(lines) == 1, done.stdout
    return lines[0]


def test_setup_without_any_python_says_which_to_install(place):
    said = complaint(place)
    assert "no python3 on PATH: install Python 3.11, 3.12 or 3.13" in said
    assert "apt-get install python3" in said


def test_setup_refuses_a_python_that_is_too_old(place):
    program(place, "python3", OLD)
    said = complaint(place)
    assert "python3 is version 3.9: install Python 3.11, 3.12 or 3.13" in said
    assert "PYTHON=/path/to/python3 make" in said


def test_setup_refuses_a_python_without_venv(place):
    program(place, "python3", NO_VENV)
    assert (
        "python3 comes without venv: install it (Debian, Ubuntu: apt-get install python3-venv)"
        in complaint(place)
    )


def test_setup_refuses_a_named_python_that_is_missing(place):
    program(place, "python3", GOOD)
    assert "/no/python is not there" in complaint(place, PYTHON="/no/python")


def test_setup_takes_the_first_suitable_python(place):
    program(place, "python3", OLD)
    program(place, "python3.12", GOOD)
    assert setup(place).returncode == 0
    assert "python3.12" in (place / "made-by").read_text()


def test_setup_takes_the_named_python(place):
    program(place, "python3", GOOD)
    program(place, "mine", GOOD)
    assert setup(place, PYTHON="mine").returncode == 0
    assert "/mine" in (place / "made-by").read_text()


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="libgomp is what Linux has")
def test_setup_without_libgomp_stops_and_goes_on_once_it_is_there(place):
    program(place, "python3", GOOD)
    (place / "no-libgomp").touch()
    done = setup(place)
    assert done.returncode != 0
    assert "libgomp, which LightGBM needs, is missing" in done.stdout
    assert "apt-get install libgomp1" in done.stdout
    (place / "no-libgomp").unlink()
    assert setup(place).returncode == 0, "it goes on where it was"


def test_setup_runs_again_only_when_the_lock_has_changed(place):
    program(place, "python3", GOOD)
    assert setup(place).returncode == 0
    assert setup(place).returncode == 0
    assert len((place / "synced").read_text().splitlines()) == 1
    os.utime(place / "uv.lock", (2e9, 2e9))
    assert setup(place).returncode == 0
    assert len((place / "synced").read_text().splitlines()) == 2


def test_an_interrupted_setup_runs_again(place):
    program(place, "python3", GOOD)
    program(place, "uv", 'case "$1" in sync) exit 1;; esac')
    assert setup(place).returncode != 0
    program(place, "uv", UV)
    shutil.copy(place / "bin/uv", place / ".venv/bin/uv")
    assert setup(place).returncode == 0
    assert (place / "synced").exists()


def test_setup_installs_the_versions_of_the_lock(place):
    program(place, "python3", GOOD)
    assert setup(place).returncode == 0
    assert "--frozen" in (place / "synced").read_text()
