import hashlib
import subprocess
import sys

import pytest

from credit_risk import keys

KEY, OTHER = "k" * 32, "o" * 43


def test_a_key_is_found_by_its_hash():
    names = keys.parse(f" branch-12:{keys.digest(KEY)}, scoring:{keys.digest(OTHER)},")
    assert (keys.owner(KEY, names), keys.owner(OTHER, names)) == ("branch-12", "scoring")
    assert keys.owner("x" * 32, names) is None
    assert keys.owner(keys.digest(KEY), names) is None, "who reads the setting has no key"


def test_short_key_is_refused_even_if_stored():
    assert keys.owner("k" * 31, keys.parse(f"short:{keys.digest('k' * 31)}")) is None


def test_name_may_have_two_keys_during_replacement():
    names = keys.parse(f"a:{keys.digest(KEY)},a:{keys.digest(OTHER)}")
    assert (keys.owner(KEY, names), keys.owner(OTHER, names)) == ("a", "a")


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
    assert f"    API_KEYS=branch-12:{hashlib.sha256(key.encode()).hexdigest()}\n" in said
    assert said.count(key) == 1


def test_invalid_key_name_is_reported():
    done = subprocess.run(
        [sys.executable, "-m", "credit_risk.keys", "a b"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "'a b' is not a name for a key" in done.stderr
