"""The page in a real Chromium, used as a clerk uses it."""

import csv
import io
import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from conftest import wait_for
from credit_risk.application import NAMES
from tools.local import ROOT

ASSETS = ROOT / "model_deployment/assets"


@pytest.fixture
def page(server, chromium):
    """A browser on the page of the running service."""
    browser = chromium()
    browser.get(server.url)
    WebDriverWait(browser, 90).until(lambda b: "Model version" in text(b, "#banner"))
    return browser


@pytest.fixture
def write(tmp_path, as_csv):
    """A function that writes applications to a file and returns its path."""

    def write(rows, name="clients.csv"):
        path = tmp_path / name
        path.write_text(as_csv(rows))
        return str(path)

    return write


def text(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector).text


def upload(browser, *paths):
    browser.find_element(By.ID, "file-input").send_keys("\n".join(paths))


def summary(browser, words):
    """Wait for a summary line that holds these words, and return it."""
    WebDriverWait(browser, 30, ignored_exceptions=[Exception]).until(
        lambda b: all(word in " ".join(text(b, "#summary").split()) for word in words)
    )
    return " ".join(text(browser, "#summary").split())


def cells(browser, column):
    """Return the shown cells of a column, with their classes."""
    found = browser.find_elements(By.CSS_SELECTOR, f".ag-cell[col-id={column}]")
    return [(cell.text, cell.get_attribute("class")) for cell in found]


def test_the_banner_says_which_model_serves_and_who_approved_it(page):
    assert "Model version 1" in text(page, "#banner")
    assert "approved by Ann Example, " in text(page, "#banner")


def test_a_file_becomes_a_table_of_green_and_red(page, server, write, clients):
    words = [d["prediction"] for d in server.score(clients)[1]["decisions"]]
    chosen = [words.index("green"), *range(100, 110), words.index("red")]
    expected = [words[i] for i in chosen]
    rows = [clients[i] | {"client_id": f"C-{i}"} for i in chosen]
    upload(page, write(rows))
    n_red = expected.count("red")
    summary(page, ["12 clients", f"{12 - n_red} green", f"{n_red} red", "0 rejected", "Model version 1"])
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "prediction")) == 12)
    assert [word for word, _ in cells(page, "prediction")] == expected
    assert all(word in classes.split() for word, classes in cells(page, "prediction"))
    titles = [t.text for t in page.find_elements(By.CSS_SELECTOR, ".ag-header-cell-text")]
    assert titles[:4] == ["Client", "Prediction", "Default risk", "Confidence"]
    colours = {
        cell.text: cell.value_of_css_property("color")
        for cell in page.find_elements(By.CSS_SELECTOR, ".ag-cell[col-id=prediction]")
    }
    assert colours["green"] != colours["red"]


def test_rejected_rows_are_shown_with_their_messages_as_text(page, write, clients):
    bad = clients[1] | {"purpose": "<img src=x onerror=alert(1)>"}
    upload(page, write([clients[0], bad]))
    summary(page, ["2 clients", "1 rejected"])
    assert "line 3: purpose '<img src=x onerror=alert(1)>' is not one of" in text(page, ".faults")
    assert page.find_elements(By.CSS_SELECTOR, ".faults img") == []
    assert [e["message"] for e in page.get_log("browser") if "Content Security" in e["message"]] == []


def test_rejected_rows_are_downloaded_mended_and_uploaded_again(page, write, clients, tmp_path):
    rows = [row | {"client_id": f"C-{i}", "note": f"n{i}"} for i, row in enumerate(clients[:5])]
    rows[1]["purpose"], rows[3]["duration"] = "yacht", "500"
    upload(page, write(rows))
    summary(page, ["5 clients", "2 rejected"])
    shown = [row.text for row in page.find_elements(By.CSS_SELECTOR, ".faults tbody tr")]
    assert shown[0].startswith("2 purpose yacht line 3: ")
    assert shown[0].endswith("domestic appliance, repairs, education, vacation, retraining, business, other")
    assert shown[1].endswith("1 to 120")
    page.find_element(By.ID, "rejected").click()
    result = tmp_path / "downloads/clients-rejected.csv"
    wait_for(result.exists, 20, "the download")
    found = list(csv.DictReader(io.StringIO(result.read_text(encoding="utf-8-sig"))))
    assert [(row["client_id"], row["note"]) for row in found] == [("C-1", "n1"), ("C-3", "n3")]
    assert "yacht" in found[0]["what_is_wrong"]
    upload(page, write([found[0] | {"purpose": "business"}, found[1] | {"duration": "50"}], "mended.csv"))
    summary(page, ["2 clients", "0 rejected"])


def test_a_file_of_which_nothing_can_be_decided_says_why(page, write, clients):
    upload(page, write([{name: value for name, value in clients[0].items() if name != "duration"}]))
    summary(page, ["1 client", "0 green", "0 red", "1 rejected"])
    assert "column 'duration' is missing" in text(page, ".faults")


def test_the_result_is_downloaded_with_the_ignored_columns(page, write, clients, tmp_path):
    upload(page, write([row | {"note": f"=note {i}"} for i, row in enumerate(clients[:3])]))
    summary(page, ["3 clients"])
    page.find_element(By.ID, "download").click()
    result = tmp_path / "downloads/clients-result.csv"
    wait_for(result.exists, 20, "the download")
    with result.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["note"] for row in rows] == ["'=note 0", "'=note 1", "'=note 2"]
    assert {row["prediction"] for row in rows} <= {"green", "red"}


def test_the_same_file_can_be_uploaded_twice_and_each_keeps_its_result(page, write, clients):
    twice, other = write(clients[:2]), write(clients[:5], "other.csv")
    upload(page, twice)
    summary(page, ["2 clients"])
    upload(page, twice)
    WebDriverWait(page, 20).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#files input")) == 2)
    upload(page, other)
    summary(page, ["5 clients"])
    choices = page.find_elements(By.CSS_SELECTOR, "#files input")
    assert len(choices) == 3
    choices[-1].click()
    summary(page, ["2 clients"])
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "prediction")) == 2)


def test_several_files_at_once_each_get_a_result(page, write, clients):
    upload(page, *(write(clients[:n], f"{n}.csv") for n in (1, 2, 3)))
    WebDriverWait(page, 30).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#files input")) == 3)
    labels = text(page, "#files")
    assert all(f"{n}.csv" in labels for n in (1, 2, 3))


def test_a_file_over_the_limit_is_refused_with_its_size_and_the_limit(page, tmp_path):
    large = tmp_path / "large.csv"
    large.write_bytes(b"x" * 2_300_000)
    upload(page, str(large))
    WebDriverWait(page, 10).until(
        lambda b: "failed" in b.find_element(By.CSS_SELECTOR, ".transfer").get_attribute("class")
    )
    said = text(page, "#transfers")
    assert "2.3 MB" in said
    assert "limit is 1 MB" in said
    page.find_element(By.CSS_SELECTOR, ".transfer button").click()
    assert page.find_elements(By.CSS_SELECTOR, ".transfer") == []


def test_a_file_that_is_no_csv_gets_its_message_and_the_next_file_is_decided(page, tmp_path, write, clients):
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    upload(page, str(empty), write(clients[:2]))
    summary(page, ["2 clients"])
    assert "the file is empty" in text(page, "#transfers")


def test_a_file_can_be_dropped_anywhere_on_the_page(page, as_csv, clients):
    page.execute_script(
        """
        const data = new DataTransfer();
        data.items.add(new File([arguments[0]], "dropped.csv"));
        document.body.dispatchEvent(new DragEvent("dragover", {dataTransfer: data, bubbles: true, cancelable: true}));
        document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        """,
        as_csv(clients[:4]),
    )
    summary(page, ["4 clients"])
    assert "dropped.csv" in text(page, "#result")


def test_a_narrow_screen_needs_no_sideways_scrolling(server, chromium, write, clients):
    browser = chromium(width=500, height=900)
    browser.get(server.url)
    WebDriverWait(browser, 30).until(lambda b: "Model version" in text(b, "#banner"))
    upload(browser, write(clients[:3]))
    summary(browser, ["3 clients"])
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def row_of(browser, prediction):
    """Return the first row of a colour."""
    cell = f".ag-cell[col-id=prediction].{prediction}"
    return WebDriverWait(browser, 20).until(lambda b: b.find_element(By.CSS_SELECTOR, cell))


def opened(browser, words):
    """Wait until the panel holds some words, and return its text."""
    wait_for(lambda: words in text(browser, "#panel"), 20, f"{words!r} in the panel")
    return text(browser, "#panel")


def test_a_row_opens_its_reasons_and_takes_an_override(page, server, write, clients, tmp_path):
    upload(page, write([row | {"client_id": f"C-{i}"} for i, row in enumerate(clients[:30])]))
    summary(page, ["30 clients"])
    row_of(page, "red").click()
    said = opened(page, "What would change it")
    assert "What raises the risk" in said
    assert "What lowers it" not in said
    assert re.search(r"Default risk \d+\.\d%, red from 16\.7%", said)
    page.find_element(By.CSS_SELECTOR, "#panel summary").click()
    assert text(page, ".waterfall tr:last-child").startswith("all together")
    page.save_screenshot(str(tmp_path / "panel.png"))

    page.find_element(By.ID, "override-set").click()
    opened(page, "by is empty")
    page.find_element(By.ID, "override-by").send_keys("Ann")
    page.find_element(By.ID, "override-reason").send_keys("knows the client")
    page.find_element(By.ID, "override-set").click()
    opened(page, "by Ann, ")
    wait_for(lambda: "green by Ann" in [word for word, _ in cells(page, "override")], 20, "the override in the table")
    (event,) = [e for e in server.decisions().events("override") if e["by"] == "Ann"]
    assert server.decisions().decision(event["key"])["prediction"] == "red", "both are kept"

    page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    wait_for(lambda: text(page, "#panel") == "", 20, "the panel closed")
    row_of(page, "green").click()
    assert "What would change it" not in opened(page, "What lowers it")
    name = page.find_element(By.ID, "override-by").get_attribute("value")
    assert name == "Ann", "a name is entered once"


def test_the_histogram_tells_how_many_are_below_the_threshold(page, write, clients):
    upload(page, write(clients[:50]))
    found = summary(page, ["50 clients"])
    n_green = re.search(r"(\d+) green", found)[1]
    label = page.find_element(By.CSS_SELECTOR, ".histogram").get_attribute("aria-label")
    assert label.startswith(f"Histogram of the risk of 50 clients: {n_green} below the threshold of 16.7%")
    assert len(page.find_elements(By.CSS_SELECTOR, ".histogram .bar")) == 25


def test_template_and_sample_can_be_had_and_the_sample_decided(page, server):
    links = {a.text: a.get_attribute("href") for a in page.find_elements(By.CSS_SELECTOR, "#drop a")}
    status, template = server.get(links["Empty template"].removeprefix(server.url))
    assert status == 200
    assert template.strip().split(",") == ["client_id", *NAMES]
    upload(page, str(ASSETS / "sample.csv"))
    summary(page, ["10 clients", "0 rejected"])
    assert "this is the sample file: a preview" in text(page, "#result")
    assert [record.n_decided for record in server.decisions().latest_batches("preview", limit=1)] == [10]
    row_of(page, "red").click()
    assert "nothing rests on it" in opened(page, "A preview")
    assert page.find_elements(By.ID, "override-set") == []
