"""Who is let in, decided from a request's headers and peer alone."""

from socket import AF_INET

import psutil
import pytest
from pydantic import SecretStr, ValidationError

from credit_risk.access.caller import Caller, at_console
from credit_risk.access.policy import METRICS, REASONS, AccessDenied, AccessPolicy
from credit_risk.access.roles import ANYBODY, NOBODY, SCRAPER, SERVICE, Rights
from credit_risk.decision_log.log import open_log
from credit_risk.keys import digest
from credit_risk.registry import approval_log
from credit_risk.settings import Settings, read_settings

KEY, OTHER, SCRAPE = "k" * 43, "o" * 43, "s" * 43
HOST = ("host", "localhost:9696")
USER = ("x-forwarded-user", "ann@bank")
PROXY, STRANGER = "10.0.0.7", "127.0.0.1"
BEHIND = {"user_header": "X-Forwarded-User", "trusted_proxies": "10.0.0.0/24, fd00::1"}
END = "2099-12-31"
KEYED = {"api_keys": SecretStr(f"branch-12:{digest(KEY)}:{END},scoring:{digest(OTHER)}:{END}")}
GROUPED = {**BEHIND, "groups_header": "X-Forwarded-Groups"}


def bearer(key: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {key}")


@pytest.fixture
def policy(settings: Settings, tmp_path):
    """A function that returns a policy of some settings, with a scrape key."""
    (tmp_path / "scrape-key").write_text(f"{SCRAPE}\n")

    def of(**more: object) -> AccessPolicy:
        given = {name.upper(): _text(value) for name, value in more.items()}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            made = Settings(_env_file=None, scrape_key_file=tmp_path / "scrape-key")
        return AccessPolicy(made, ("/healthz",))

    return of


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def refused(
    policy: AccessPolicy, *headers, method="POST", path="/x", peer=STRANGER, host=HOST
) -> tuple[int, str]:
    with pytest.raises(AccessDenied) as denied:
        policy.caller(method, path, [host, *headers] if host else headers, peer)
    assert denied.value.reason in REASONS
    assert str(denied.value).endswith(".")
    return denied.value.status, denied.value.reason


def test_policy_without_settings_admits_everybody(policy):
    for headers in ([], [USER], [bearer("x")], [bearer(SCRAPE)]):
        assert policy().caller("POST", "/x", [HOST, *headers], STRANGER) == Caller(
            "", "open", ANYBODY
        )


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:9696", "[::1]:9696", "LOCALHOST:1", "risk-o-meter:9696"]
)
def test_allowed_host_names_are_answered(policy, host):
    assert policy().caller("GET", "/", [("host", host)], STRANGER)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "",
        "[",
        "a b",
        "localhost.",
        "localhost.evil.example",
        "a@localhost",
        "localhost:",
        "localhost:x",
    ],
)
def test_other_host_names_are_refused(policy, host):
    assert refused(policy(), method="GET", path="/healthz", host=("host", host)) == (
        400,
        "unknown-host",
    )


@pytest.fixture
def own_address() -> str:
    """An address of this machine that others reach."""
    found = [
        a.address for each in psutil.net_if_addrs().values() for a in each if a.family == AF_INET
    ]
    outside = [address for address in found if not address.startswith("127.")]
    return outside[0] if outside else pytest.skip("this machine is on no network")


def test_own_addresses_are_answered_only_where_they_are_allowed(policy, own_address):
    host = ("host", f"{own_address}:9696")
    allowed = policy(allowed_hosts="localhost,own-addresses")
    assert allowed.caller("GET", "/", [host], STRANGER)
    assert allowed.caller("GET", "/", [HOST], STRANGER)
    assert refused(policy(), host=host) == (400, "unknown-host")


@pytest.mark.parametrize(
    "host",
    [
        "own-addresses",
        "192.0.2.1",
        "0.0.0.0",
        "[::]",
        "127.0.0.1",
        "127.8.8.8",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:192.0.2.1]",
        "224.0.0.1",
        "[fe80::1]",
        "2130706433",
    ],
)
def test_own_addresses_are_those_that_others_reach(policy, host):
    assert refused(policy(allowed_hosts="own-addresses"), host=("host", host)) == (
        400,
        "unknown-host",
    )


def test_request_needs_exactly_one_host_header(policy):
    assert refused(policy(), HOST) == (400, "doubled-header")
    assert refused(policy(), host=None) == (400, "unknown-host")


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:8000",
        "http://localhost:9696.evil",
        "http://[",
        "",
    ],
)
def test_post_from_a_foreign_origin_is_refused(policy, origin):
    for method in ("POST", "PUT", "DELETE", "BREW"):
        assert refused(policy(), ("origin", origin), method=method) == (403, "foreign-origin")
    assert policy().caller("GET", "/", [HOST, ("origin", origin)], STRANGER)


def test_post_from_our_own_page_is_allowed(policy):
    for headers in ([("origin", "http://localhost:9696")], [("sec-fetch-site", "same-origin")], []):
        assert policy().caller("POST", "/", [HOST, *headers], STRANGER)
    assert refused(policy(), ("sec-fetch-site", "same-site")) == (403, "foreign-origin")
    assert refused(policy(), ("sec-fetch-site", "cross-site")) == (403, "foreign-origin")
    twice = [("origin", "http://localhost:9696")] * 2
    assert refused(policy(), *twice) == (403, "doubled-header")


@pytest.mark.parametrize("peer", [PROXY, "10.0.0.255", "fd00::1", "::ffff:10.0.0.7"])
def test_a_trusted_proxy_names_the_user(policy, peer):
    assert policy(**BEHIND).caller("POST", "/x", [HOST, USER], peer) == Caller(
        "ann@bank", "user", ANYBODY
    )


@pytest.mark.parametrize(
    "peer", ["127.0.0.1", "::1", "10.0.1.7", "fd00::2", "", None, "unix:", "10.0.0.7x"]
)
def test_untrusted_peer_cannot_name_a_user(policy, peer):
    for path in ("/", "/api/v1/score", "/_dash-update-component", METRICS):
        assert refused(policy(**BEHIND), USER, path=path, peer=peer) == (403, "untrusted-proxy")
        assert refused(policy(**BEHIND, **KEYED), USER, bearer(KEY), path=path, peer=peer) == (
            403,
            "untrusted-proxy",
        )


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "no-user"),
        ([("x_forwarded_user", "CEO")], "no-user"),
        ([("x-forwarded-user ", "CEO")], "no-user"),
        ([("x-forwarded-user", "CEO"), USER], "doubled-header"),
        ([USER, USER], "doubled-header"),
        ([("x-forwarded-user", "CEO,ann@bank")], "doubled-header"),
        ([("x-forwarded-user", "")], "bad-user"),
        ([("x-forwarded-user", "  ")], "bad-user"),
        ([("x-forwarded-user", "a\u202eb")], "bad-user"),
        ([("x-forwarded-user", "a\x1bb")], "bad-user"),
        ([("x-forwarded-user", "a" * 201)], "bad-user"),
    ],
)
def test_malformed_or_doubled_user_header_is_refused(policy, headers, reason):
    for path in (
        "/",
        "/api/v1/score",
        "/_dash-update-component",
        METRICS,
        "//healthz",
        "/healthz/",
    ):
        assert refused(policy(**BEHIND), *headers, path=path, peer=PROXY) == (403, reason)


@pytest.fixture
def roles_file(tmp_path):
    file = tmp_path / "roles.toml"
    file.write_text('[clerk]\ngroups = ["clerks"]\n[auditor]\nusers = ["ann@bank"]\n')
    return file


def test_proxy_names_the_users_groups(policy, roles_file):
    grouped = policy(**GROUPED, roles_file=roles_file)

    def rights(*headers):
        return grouped.caller("GET", "/x", [HOST, *headers], PROXY).rights

    both = Rights(("auditor", "clerk"), "all")
    assert rights(USER, ("x-forwarded-groups", "others, clerks")) == both
    assert rights(USER) == Rights(("auditor",), "all")
    bo = ("x-forwarded-user", "bo@bank")
    assert rights(bo, ("x-forwarded-groups", "clerks")) == Rights(("clerk",), "branch")
    assert refused(grouped, bo, peer=PROXY) == (403, "no-role")
    assert refused(grouped, bo, ("x-forwarded-groups", "ann@bank"), peer=PROXY) == (403, "no-role")


def test_groups_from_elsewhere_or_sent_twice_are_not_believed(policy, roles_file):
    grouped = policy(**GROUPED, **KEYED, roles_file=roles_file)
    groups = ("x-forwarded-groups", "clerks")
    assert refused(grouped, USER, groups) == (403, "untrusted-proxy")
    assert refused(grouped, groups, peer=PROXY) == (403, "no-user")
    assert refused(grouped, USER, groups, groups, peer=PROXY) == (403, "doubled-header")
    key = grouped.caller("GET", "/x", [HOST, groups, bearer(KEY)], STRANGER)
    assert key.rights == SERVICE, "a key's holder has no groups"
    roles_file.write_text('[service]\nreads = "all"\n')
    key = policy(**GROUPED, **KEYED, roles_file=roles_file).caller(
        "POST", "/x", [HOST, bearer(KEY)], STRANGER
    )
    assert key.rights == Rights(("service",), "all")


def test_groups_header_that_is_not_set_means_nothing(policy, roles_file):
    named = policy(**BEHIND, roles_file=roles_file)
    bo = ("x-forwarded-user", "bo@bank")
    assert refused(named, bo, ("x-forwarded-groups", "clerks"), peer=PROXY) == (403, "no-role")


def test_permission_is_required_and_nobody_passes_without_one_to_have():
    clerk = Caller("ann", "user", Rights(("clerk",)))
    AccessPolicy.require(clerk, "score")
    for permission in ("approve", "metrics", None):
        with pytest.raises(AccessDenied) as denied:
            AccessPolicy.require(clerk, permission)
        assert (denied.value.status, denied.value.reason) == (403, "not-permitted")
        assert denied.value.caller == clerk
    with pytest.raises(AccessDenied):
        AccessPolicy.require(Caller(), "model")


def test_probes_are_open(policy):
    for closed in (policy(**BEHIND), policy(**KEYED)):
        for headers in ([], [USER], [bearer("x")]):
            caller = closed.caller("GET", "/healthz", [HOST, *headers], STRANGER)
            assert (caller, caller.rights) == (Caller(), NOBODY)


def test_a_key_names_its_holder(policy):
    for kind in ("Bearer", "bearer", "BEARER"):
        header = ("authorization", f"{kind} {KEY}")
        assert policy(**KEYED).caller("POST", "/x", [HOST, header], STRANGER) == Caller(
            "branch-12", "key", SERVICE
        )
    assert str(policy(**KEYED).caller("POST", "/x", [HOST, bearer(OTHER)], None)) == "key: scoring"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        f"Bearer {KEY},{OTHER}",
        f"Bearer {digest(KEY)}",
        "Bearer \xe9",
    ],
)
def test_another_key_is_refused(policy, given):
    assert refused(policy(**KEYED), ("authorization", given)) == (401, "wrong-key")
    assert refused(policy(**KEYED), ("authorization", given), path=METRICS, method="GET") == (
        401,
        "wrong-key",
    )


def test_key_is_refused_after_its_last_day(policy):
    old = policy(api_keys=SecretStr(f"branch-12:{digest(KEY)}:2026-01-31"))
    for path in ("/", METRICS):
        assert refused(old, bearer(KEY), path=path) == (401, "expired-key")
    assert refused(old, bearer(OTHER)) == (401, "wrong-key"), "who has no key learns of none"


def test_request_without_a_key_is_refused_everywhere(policy):
    for path in ("/", "/api/v1/score", "/_dash-update-component", "/reports", METRICS):
        assert refused(policy(**KEYED), path=path) == (401, "no-key")
    assert refused(policy(**KEYED), bearer(KEY), bearer(KEY)) == (401, "doubled-header")


def test_user_or_key_suffices_when_both_are_set(policy):
    both = policy(**BEHIND, **KEYED)
    assert str(both.caller("POST", "/x", [HOST, USER, bearer("x")], PROXY)) == "user: ann@bank"
    assert str(both.caller("POST", "/x", [HOST, bearer(KEY)], STRANGER)) == "key: branch-12"
    assert refused(both) == (403, "no-user")


def test_scrape_key_opens_the_metrics_only(policy):
    for closed in (policy(**BEHIND), policy(**KEYED)):
        assert closed.caller("GET", METRICS, [HOST, bearer(SCRAPE)], STRANGER) == Caller(
            "prometheus", "scrape", SCRAPER
        )
        for path in ("/", "/api/v1/model", "/metrics/", "//metrics"):
            assert refused(closed, bearer(SCRAPE), path=path) == (401, "wrong-key")


@pytest.mark.parametrize("content", [None, "", "short\n"])
def test_metrics_need_a_key_when_no_scrape_key_is_set(policy, tmp_path, content, caplog):
    policy()
    (tmp_path / "scrape-key").unlink() if content is None else (tmp_path / "scrape-key").write_text(
        content
    )
    made = Settings(_env_file=None, **KEYED, scrape_key_file=tmp_path / "scrape-key")
    closed = AccessPolicy(made, ())
    for key in ("", "short", "x"):
        assert refused(closed, bearer(key), path=METRICS) == (401, "wrong-key")
    assert "SCRAPE_KEY_FILE" in caplog.text


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "USER_HEADER",
            "X-Forwarded-User",
            "TRUSTED_PROXIES=: Value error, USER_HEADER is believed from these alone",
        ),
        (
            "TRUSTED_PROXIES",
            "proxy",
            "TRUSTED_PROXIES=proxy: Value error, 'proxy' does not appear to be an IPv4 or",
        ),
        (
            "TRUSTED_PROXIES",
            "10.0.0.7/24",
            "TRUSTED_PROXIES=10.0.0.7/24: Value error, 10.0.0.7/24 has host bits set",
        ),
        (
            "TRUSTED_PROXIES",
            "0.0.0.0/0",
            "TRUSTED_PROXIES=0.0.0.0/0: Value error, a network of all addresses",
        ),
        (
            "API_KEYS",
            "my-plain-key",
            "API_KEYS: Value error, entry 1 is not NAME:SHA256:LAST-DAY (keys are stored hashed)",
        ),
        ("USER_HEADER", "X Y", "USER_HEADER=X Y: String should match pattern"),
        ("OIDC_ISSUER", "https://login.example", "OIDC_ISSUER needs OIDC_AUDIENCE"),
        ("OIDC_ISSUER", "http://login.example", "OIDC_ISSUER=http://login.example: String should"),
        ("OIDC_ISSUER", "ftp://login.example", "OIDC_ISSUER=ftp://login.example: String should"),
        ("IAP_AUDIENCE", "/projects/1/x", "IAP_AUDIENCE needs ROLES_FILE, which says who may do"),
        ("FOUR_EYES", "true", "FOUR_EYES needs OIDC_ISSUER or IAP_AUDIENCE"),
    ],
)
def test_settings_that_admit_too_many_are_refused_in_one_line(
    monkeypatch, tmp_path, variable, value, said
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        read_settings()
    assert str(ended.value).splitlines()[0].startswith(said)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "my-plain-key" not in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"OIDC_ISSUER": "https://l.example", "USER_HEADER": "X", "TRUSTED_PROXIES": "10.0.0.7"},
            "OIDC_ISSUER and USER_HEADER are set: users are identified in one way",
        ),
        (
            {"OIDC_ISSUER": "https://l.example", "OIDC_AUDIENCE": "a", "IAP_AUDIENCE": "/b"},
            "OIDC_ISSUER and IAP_AUDIENCE are set",
        ),
        (
            {"IAP_AUDIENCE": "/b", "USER_HEADER": "X", "TRUSTED_PROXIES": "10.0.0.7"},
            "IAP_AUDIENCE and USER_HEADER are set",
        ),
        (
            {"OIDC_ISSUER": "https://l.example", "OIDC_AUDIENCE": "a"},
            "OIDC_ISSUER needs ROLES_FILE",
        ),
    ],
)
def test_a_header_is_never_believed_beside_a_token(monkeypatch, tmp_path, variables, said):
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        read_settings()
    assert str(ended.value).startswith(said)


def test_settings_do_not_contain_a_key_in_plain_text(policy):
    settings = Settings(_env_file=None, **KEYED)
    assert KEY not in f"{settings!r} {settings.api_keys.get_secret_value()}"


def test_caller_at_the_console_is_the_system_user(monkeypatch, settings):
    monkeypatch.setenv("LOGNAME", "ann")
    assert str(at_console()) == "command line: ann"
    log = open_log(settings)
    approval_log.append(
        log, approval_log.Approval("1", "Ada", "better", approval_log.APPROVAL, "d")
    )
    (event,) = (event for event in log.approvals() if event["key"] == "1")
    assert (event["by"], event["caller"]) == ("Ada", "command line: ann")


def test_console_user_without_a_name_is_a_number(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: {}["nobody"])
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert str(at_console()) == "command line: 4711"
