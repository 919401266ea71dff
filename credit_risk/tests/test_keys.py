import hashlib
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from credit_risk import keys

KEY, OTHER = "k" * 32, "o" * 43


def entry(name, key, end="2099-12-31"):
    return f"{name}:{keys.digest(key)}:{end}"


def test_a_key_is_found_by_its_hash():
    known = keys.parse(f" {entry('branch-12', KEY)}, {entry('scoring', OTHER, '2027-01-31')},")
    assert keys.find(KEY, known) == keys.Key("branch-12", date(2099, 12, 31))
    assert keys.find(OTHER, known) == keys.Key("scoring", date(2027, 1, 31))
    assert keys.find("x" * 32, known) is None
    assert keys.find(keys.digest(KEY), known) is None, "who reads the setting has no key"


def test_short_key_is_refused_even_if_stored():
    assert keys.find("k" * 31, keys.parse(entry("short", "k" * 31))) is None


def test_name_may_have_two_keys_during_replacement():
    known = keys.parse(f"{entry('a', KEY, '2026-01-01')},{entry('a', OTHER)}")
    old, new = keys.find(KEY, known), keys.find(OTHER, known)
    assert (old.name, new.name) == ("a", "a")
    assert (old.has_expired, new.has_expired) == (True, False)


@pytest.mark.parametrize(("days", "has_expired"), [(-1, True), (0, False), (1, False)])
def test_key_is_valid_through_its_last_day(days, has_expired):
    last = datetime.now(UTC).date() + timedelta(days=days)
    assert keys.Key("a", last).has_expired is has_expired


def test_entry_from_before_keys_had_an_end_never_expires():
    (key,) = keys.parse(f"old:{keys.digest(KEY)}").values()
    assert key == keys.Key("old", None)
    assert not key.has_expired


@pytest.mark.parametrize(
    "text",
    [
        "my-old-plain-key",
        f"{keys.digest(KEY)}",
        f"a:{KEY}",
        f"a:{keys.digest(KEY).upper()}",
        f":{keys.digest(KEY)}",
        f"a b:{keys.digest(KEY)}",
        f"a:{keys.digest(KEY)},b:{keys.digest(KEY)}",
        f"a:{keys.digest(KEY)}:",
        f"a:{keys.digest(KEY)}:soon",
        f"a:{keys.digest(KEY)}:2027-02-30",
        f"a:{keys.digest(KEY)}:2027-01-31:more",
    ],
)
def test_malformed_key_setting_is_refused_and_not_quoted(text):
    with pytest.raises(ValueError, match="entry") as refused:
        keys.parse(text)
    assert "my-old-plain-key" not in str(refused.value)
    assert KEY not in str(refused.value)


def test_new_key_is_printed_once_with_its_entry():
    command = [
        sys.executable,
        "-S",
        "-m",
        "credit_risk.keys",
        "branch-12",
    ]  # without any package: none is needed
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    key = next(line.strip() for line in said.splitlines() if len(line.strip()) == 43)
    in_a_year = datetime.now(UTC).date() + timedelta(days=365)
    made = f"API_KEYS=branch-12:{hashlib.sha256(key.encode()).hexdigest()}:{in_a_year}"
    assert f"    {made}\n" in said
    assert said.count(key) == 1


def test_end_of_a_new_key_can_be_chosen(capsys):
    keys.main(["branch-12", "--days", "30"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "API_KEYS=" in line)
    (key,) = keys.parse(line.strip().removeprefix("API_KEYS=")).values()
    assert key == keys.Key("branch-12", datetime.now(UTC).date() + timedelta(days=30))


@pytest.mark.parametrize("days", ["0", "-1", "3651", "x"])
def test_key_without_a_sensible_end_is_not_made(capsys, days):
    with pytest.raises(SystemExit) as ended:
        keys.main(["branch-12", "--days", days])
    assert ended.value.code == 2
    assert "API_KEYS" not in capsys.readouterr().out


def test_invalid_key_name_is_reported():
    done = subprocess.run(
        [sys.executable, "-m", "credit_risk.keys", "a b"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "'a b' is not a name for a key" in done.stderr
