"""The metrics: named as agreed, labelled by what we wrote and never by what clients send."""

from prometheus_client.parser import text_string_to_metric_families


def samples(client):
    text = client.get("/metrics").text
    return {
        (s.name, *sorted(s.labels.items())): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }


def requests_of(client):
    name = "riskometer_request_duration_seconds_count"
    return {
        tuple(v for _, v in key[1:]): value
        for key, value in samples(client).items()
        if key[0] == name
    }


def test_requests_are_counted_by_rule_method_and_status(client, client_rows):
    client.post("/api/v1/score", json=client_rows[:1])
    client.post("/api/v1/score", json=[{}])
    client.get("/api/v1/score")
    client.get("/assets/riskometer.css")
    for path in ("/a", "/b", "/api/v1/c"):
        client.get(path)
    client.open("/", method="BREW")
    assert requests_of(client) == {  # labels in order of their names: method, route, status
        ("POST", "/api/v1/score", "200"): 1,
        ("POST", "/api/v1/score", "422"): 1,
        ("GET", "unmatched", "405"): 1,
        ("GET", "/assets/<path:filename>", "200"): 1,
        ("GET", "unmatched", "404"): 3,
        ("other", "unmatched", "405"): 1,
    }


def test_scoring_is_timed_apart(client, client_rows):
    client.post("/api/v1/score", json=client_rows[:1])
    found = samples(client)
    assert found[("riskometer_scoring_duration_seconds_count",)] == 1
    assert 0 < found[("riskometer_scoring_duration_seconds_sum",)] < 60


def test_each_app_counts_for_itself(client):
    assert requests_of(client) == {}
