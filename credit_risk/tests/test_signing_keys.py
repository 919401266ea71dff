"""The issuer's keys: fetched beside the requests, renewed, and never asked for too often."""

import time

import pytest

from credit_risk.access import signing_keys
from credit_risk.access.signing_keys import (
    KeysUnavailable,
    SigningKeys,
    fetch_keys,
    fetch_keys_of,
)
from tests.support.issuer import CONFIGURATION, JWKS, Said, issuing, jwk, new_key
from tests.support.processes import wait_for

RETRY = 0.2


@pytest.fixture
def issuer():
    with issuing() as issuer:
        yield issuer


def keys_of(issuer, retry=RETRY):
    return SigningKeys(lambda: fetch_keys_of(issuer.url), retry)


def test_keys_are_found_by_the_providers_configuration(issuer):
    first, second = issuer.kid, issuer.rotate(keep=True)
    assert set(fetch_keys_of(issuer.url)) == {first, second}
    assert issuer.asked == [CONFIGURATION, JWKS]
    assert fetch_keys(f"{issuer.url}{JWKS}")[first].algorithm_name == "RS256"


def test_new_key_is_picked_up_and_a_withdrawn_one_believed_no_more(issuer):
    keys, old = keys_of(issuer), issuer.kid
    assert keys.find(old)
    new = issuer.rotate()
    assert keys.find(new) is None, "this request does not wait for the issuer"
    wait_for(lambda: keys.find(new), 5, "the new key")
    assert keys.find(old) is None


def test_unknown_keys_make_it_ask_the_issuer_once_per_retry_time(issuer):
    keys = keys_of(issuer, retry=0.5)
    began = time.monotonic()
    while time.monotonic() - began < 1.8:
        for n in range(100):
            assert keys.find(f"forged-{n}") is None
        time.sleep(0.01)
    assert issuer.asked.count(JWKS) in (3, 4, 5), "at the start, and after each half second"


def test_issuer_that_is_down_at_the_start_is_asked_again(issuer):
    issuer.stop()
    keys = keys_of(issuer)
    with pytest.raises(KeysUnavailable):
        keys.find(issuer.kid)
    issuer.start()
    wait_for(lambda: keys.find(issuer.kid), 5, "the key")


def test_keys_stay_while_the_issuer_is_down_but_not_for_ever(issuer, monkeypatch, caplog):
    keys = keys_of(issuer)
    issuer.stop()
    assert keys.find(issuer.kid)
    assert keys.find("unknown") is None
    wait_for(lambda: "keys that sign tokens are unavailable" in caplog.text, 5, "a line")
    assert keys.find(issuer.kid)
    monkeypatch.setattr(signing_keys, "TRUSTED_SECONDS", 0.0)
    with pytest.raises(KeysUnavailable):
        keys.find(issuer.kid)
    with pytest.raises(KeysUnavailable):
        keys.find("unknown")


def test_error_that_nobody_foresaw_does_not_end_the_renewal(caplog):
    answers = [{"a": 1}, ZeroDivisionError("a fault of ours"), {"b": 2}]

    def fetch():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    keys = SigningKeys(fetch, 0.05)
    wait_for(lambda: keys.find("b"), 5, "the new key")
    assert "a fault of ours" in caplog.text


def test_keys_are_renewed_though_nobody_asks(issuer, monkeypatch):
    monkeypatch.setattr(signing_keys, "REFRESH_SECONDS", 0.1)
    keys, old = keys_of(issuer, retry=0.05), issuer.kid
    issuer.rotate()
    wait_for(lambda: keys.find(old) is None, 5, "the withdrawal")


@pytest.mark.parametrize(
    "said",
    [
        Said(200, []),
        Said(200, {"issuer": "https://other.example", "jwks_uri": "http://127.0.0.1:1/jwks"}),
        Said(200, {}),
        Said(200, b"<html>"),
        Said(200, b"[" * 5_000),
        Said(404, {}),
        Said(302, b"", {"Location": "/elsewhere"}),
        Said(200, b'"' + b"x" * 1_000_001 + b'"'),
    ],
    ids=["list", "another issuer's", "empty", "HTML", "nested", "404", "redirect", "too large"],
)
def test_configuration_that_is_none_is_refused(issuer, said):
    issuer.pages[CONFIGURATION] = lambda _: said
    with pytest.raises(KeysUnavailable):
        fetch_keys_of(issuer.url)
    assert issuer.asked == [CONFIGURATION], "no redirect is followed"


def test_keys_without_tls_of_an_issuer_with_tls_are_refused(monkeypatch):
    found = {"issuer": "https://bank.example", "jwks_uri": "http://bank.example/jwks"}
    monkeypatch.setattr(signing_keys, "_json", lambda address: found)
    with pytest.raises(KeysUnavailable, match="without TLS"):
        fetch_keys_of("https://bank.example")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"keys": []},
        {"keys": {}},
        {"keys": "x"},
        {"keys": [1]},
        {"keys": [{"kty": "RSA"}]},
        {"keys": [{"kty": "quantum", "kid": "a"}]},
    ],
)
def test_what_is_no_set_of_keys_is_refused(issuer, said):
    issuer.pages[JWKS] = lambda _: Said(200, said)
    with pytest.raises(KeysUnavailable):
        fetch_keys_of(issuer.url)


def test_only_keys_for_signatures_that_have_an_id_are_taken(issuer):
    key = jwk(new_key(), "good", "RS256")
    others = [
        key | {"kid": "encryption", "use": "enc"},
        {name: value for name, value in key.items() if name != "kid"},
        {"kty": "RSA", "kid": "broken"},
    ]
    issuer.pages[JWKS] = lambda _: Said(200, {"keys": [*others, key]})
    assert list(fetch_keys_of(issuer.url)) == ["good"]
