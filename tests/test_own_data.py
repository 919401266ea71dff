"""The whole stack on data of other lenders, and on a definition that changes while it runs."""

import csv
import io
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import requests

from credit_risk.schema.dataset_file import load_dataset, training_file
from tests.support.processes import wait_for
from tests.support.stacks import log_of, serves, upload
from tools.paths import ROOT

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

DATASETS = ("credit_data", "lending_club")
FEW = {
    "N_ITER": "2",
    "RISKOMETER_PROCESSES": "1",
    "EXPORTER_INTERVAL_SECONDS": "1",
    "MODEL_POLL_SECONDS": "2",
}


def first(dataset: str, n: int, start: int = 0) -> list[dict[str, str]]:
    """Return some clients of a data set's own file, as it has them."""
    with training_file(dataset).open(newline="") as file:
        return list(csv.DictReader(file))[start : start + n]


def as_csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@pytest.fixture(scope="module", params=DATASETS)
def own(request, new_stack):
    """A stack that serves a data set from an empty folder."""
    stack = new_stack(**FEW, DATASET=request.param)
    stack.start_unscheduled()
    yield stack, load_dataset(request.param)
    stack.stop()


def test_it_is_trained_approved_and_decides_on_the_lender_s_own_file(own):
    stack, dataset = own
    assert serves(stack) == "1"
    batch = upload(stack, as_csv(first(dataset.name, 300)), "applications.csv")
    assert (batch["n_decided"], batch["n_rejected"]) == (300, 0), batch["kinds"]
    assert {decision["prediction"] for decision in batch["decisions"]} == {"green", "red"}

    records = log_of(stack.environment).latest_batches(limit=1)
    assert [(r.dataset, r.definition) for r in records] == [(dataset.name, dataset.digest)]
    version = stack.get(
        "MLFLOW", "/api/2.0/mlflow/model-versions/get?name=credit-risk&version=1"
    ).json()["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert (tags["dataset"], tags["definition"]) == (dataset.name, dataset.digest)


def test_an_export_can_be_sent_again(own):
    stack, dataset = own
    sent = as_csv(first(dataset.name, 50))
    answer = stack.post(
        "RISKOMETER",
        "/api/v1/files?reasons=true",
        files={"file": ("few.csv", sent)},
        headers={"Accept": "text/csv"},
    )
    result = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(result) == 50
    assert all(row["reasons"] for row in result)

    again = [{name: row[name] for name in dataset.names} for row in result]
    batch = upload(stack, as_csv(again))
    assert batch["n_decided"] == 50
    assert [d["risk"] for d in batch["decisions"]] == pytest.approx(
        [float(row["risk"]) for row in result], abs=1e-6
    )


def test_missing_values_are_scored_and_told_where_the_lender_has_them(own):
    stack, dataset = own
    optional = [a for a in dataset.scored_attributes if a.missing]
    if dataset.name == "lending_club":
        assert not optional, "its file has a value everywhere"
        return

    without = [name for a in optional for name in (a.name, *a.headers)]
    rows = [row | {name: "" for name in row if name in without} for row in first(dataset.name, 20)]
    answer = stack.post(
        "RISKOMETER", "/api/v1/files?reasons=true", files={"file": ("gaps.csv", as_csv(rows))}
    ).json()
    assert answer["n_decided"] == 20, answer["kinds"]
    texts = [
        reason["text"]
        for decision in answer["decisions"]
        for reason in (*decision["reasons"]["raising"], *decision["reasons"]["lowering"])
    ]
    assert any(text.endswith("is not given") for text in texts)


def test_a_clerk_sees_reasons_and_sets_another_decision(own, chromium, tmp_path):
    from selenium.webdriver.common.by import By

    stack, dataset = own
    file = tmp_path / "clients.csv"
    file.write_bytes(as_csv(first(dataset.name, 120, start=300)))
    page = chromium(width=1400)
    page.get(stack.url("RISKOMETER"))
    wait_for(lambda: "Model version 1" in page.find_element(By.ID, "banner").text, 60, "the page")
    page.find_element(By.ID, "file-input").send_keys(str(file))
    wait_for(lambda: page.find_elements(By.ID, "summary"), 60, "the result")
    shown = ".ag-cell[col-id=prediction]"
    wait_for(lambda: page.find_elements(By.CSS_SELECTOR, shown)[0].text, 30, "the table")
    page.find_elements(By.CSS_SELECTOR, shown)[0].click()
    panel = wait_for(lambda: page.find_element(By.ID, "panel").text, 30, "the decision")
    assert "What raises the risk" in panel or "What lowers it" in panel
    recorded = page.find_element(By.ID, "panel").get_attribute("textContent")
    assert all(attribute.title in recorded for attribute in dataset.attributes)

    said = page.find_element(By.CSS_SELECTOR, "#panel .badge").text
    other = {"green": "red", "red": "green"}[said]
    page.find_element(By.ID, "override-by").send_keys("Ann Example")
    page.find_element(By.ID, "override-reason").send_keys("She brought new papers")
    page.find_element(By.ID, "override-set").click()
    wait_for(
        lambda: (
            f"Set by Ann Example. The model said {said}" in page.find_element(By.ID, "panel").text
        ),
        30,
        "the override",
    )
    (record,) = log_of(stack.environment).latest_batches(limit=1)
    (event,) = log_of(stack.environment).events("override", batch=record.id)
    assert event["prediction"] == other


def test_drift_is_measured_by_the_lender_s_attributes_and_reported(own):
    stack, dataset = own
    quantity = next(a for a in dataset.scored_attributes if a.name == dataset.amount)
    header = quantity.headers[0] if quantity.headers else quantity.name
    rows = first(dataset.name, 600)
    largest = max(rows, key=lambda row: float(row[header] or 0))[header]
    upload(stack, as_csv([row | {header: largest} for row in rows]), "drifted.csv")

    label = re.escape(f'{{feature="{dataset.amount}"}}')
    drifted = rf"^credit_risk_drift_detected{label} 1\.0$"
    wait_for(
        lambda: re.search(drifted, stack.get("EXPORTER", "/metrics").text, re.M), 120, "the drift"
    )
    said = stack.make("evidently-report-flow")
    assert re.search(rf"drifted: .*\b{dataset.amount}\b", said), said


def test_the_folder_serves_no_other_data_set(own):
    stack, dataset = own
    stack.stop()
    other = next(name for name in ("german_credit", *DATASETS) if name != dataset.name)
    done = stack.call(["make", "--no-print-directory", "run"], DATASET=other)
    assert done.returncode != 0
    (line,) = [line for line in done.stdout.splitlines() if "serves the data set" in line]
    assert dataset.name in line
    assert "VAR_DIR=" in line


# A definition that changes


def change(folder: Path, *changes: tuple[str, str]) -> None:
    """Change the text of a definition."""
    file = folder / "dataset.toml"
    text = file.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    tomllib.loads(text)
    file.write_text(text)


def out_of_fold_cost(stack) -> float:
    """Return what the exporter says of the version that decides; 0 while it says nothing."""
    page = stack.get("EXPORTER", "/metrics").text
    found = re.search(r"^credit_risk_out_of_fold_cost (\S+)$", page, re.M)
    return float(found[1]) if found else 0.0


def without(text: str, name: str) -> str:
    """Return a definition without one attribute."""
    blocks = text.split("[[attributes]]\n")
    kept = [block for block in blocks if f'name = "{name}"\n' not in block]
    assert len(kept) == len(blocks) - 1, name
    return "[[attributes]]\n".join(kept)


def test_attributes_come_go_and_change_their_name_on_a_running_stack(new_stack, tmp_path):
    folder = tmp_path / "lender"
    shutil.copytree(ROOT / "data" / "credit_data", folder)
    file = folder / "dataset.toml"
    whole = file.read_text()
    file.write_text(without(whole, "assets"))

    stack = new_stack(**FEW, DATASET=str(folder))
    stack.start_unscheduled()
    rows = first("credit_data", 150)
    old = upload(stack, as_csv(rows), "old.csv")
    wait_for(lambda: out_of_fold_cost(stack) > 0.2, 60, "the cost per client")
    assert old["model_version"] == "1"
    assert any("Assets" in warning for warning in old["warnings"]), "it is not asked for yet"

    # One attribute is added, one is removed, and one is called otherwise; costs grow with the loan.
    file.write_text(without(whole, "expenses"))
    change(
        folder,
        ('name = "seniority"\n', 'name = "years_in_job"\n'),
        ("bad = 5\ngood = 1\n", 'bad = 0.5\ngood = 0.1\nby = "amount"\n'),
    )
    stack.make("model-train-flow")
    stack.make("approve", VERSION="2", BY="Test Person", REASON="other attributes")
    wait_for(lambda: serves(stack) == "2", 60, "the new version in service")
    new = upload(stack, as_csv(rows), "new.csv")
    assert (new["model_version"], new["n_decided"]) == ("2", 150)

    wait_for(lambda: 0 < out_of_fold_cost(stack) < 0.12, 60, "the cost per unit of amount")

    # What was decided before stays readable, as it was recorded.
    id = old["decisions"][0]["id"]
    decision = stack.get("RISKOMETER", f"/api/v1/decisions/{id}").json()
    assert str(decision["expenses"]) == rows[0]["Expenses"]
    assert str(decision["seniority"]) == rows[0]["Seniority"]
    assert decision["reasons"]["raising"] or decision["reasons"]["lowering"]
    log = log_of(stack.environment)
    tables = [log.read(log.batch(batch["batch"])) for batch in (old, new)]
    assert tables[0]["assets"].null_count == 150 > tables[1]["assets"].null_count
    together = log.read(*(log.batch(batch["batch"]) for batch in (old, new)))
    assert together["expenses"].null_count == 150
    assert together["years_in_job"].null_count == 150
    assert stack.make("evidently-report-flow").count("Traceback") == 0

    # The version before decides again, by its own definition.
    stack.make("rollback", BY="Test Person", REASON="as it was")
    wait_for(lambda: serves(stack) == "1", 60, "the version before in service")
    again = upload(stack, as_csv(rows), "again.csv")
    assert [d["risk"] for d in again["decisions"]] == [d["risk"] for d in old["decisions"]]

    stack.stop()
    stack.start()
    stack.wait_until_ready()
    assert requests.get(stack.url("RISKOMETER", "/readyz"), timeout=30).ok
    assert serves(stack) == "1"
    batch = stack.get("RISKOMETER", f"/api/v1/batches/{old['batch']}.csv")
    assert len(list(csv.DictReader(io.StringIO(batch.content.decode("utf-8-sig"))))) == 150
    stack.stop()
