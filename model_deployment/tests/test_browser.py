"""The page in a real Chromium, used as a clerk uses it."""

import base64
import csv
import io
import re
from importlib.resources import files

import openpyxl
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.support.german_credit import NAMES
from tests.support.processes import wait_for
from tools.paths import ROOT

SAMPLE = ROOT / "data/german_credit/sample.csv"
AXE = files("axe_playwright_python") / "axe.min.js"


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
    """Return the shown cells of a column, with their classes, in one call: the grid may redraw."""
    read = (
        "return [...document.querySelectorAll(arguments[0])]"
        ".map(cell => [cell.innerText.trim(), cell.className])"
    )
    return [tuple(cell) for cell in browser.execute_script(read, f".ag-cell[col-id={column}]")]


def faults(browser):
    """Wait for the table of what is wrong, and return its rows as text."""
    read = (
        "return [...document.querySelectorAll('#faults .ag-center-cols-container .ag-row')].map("
        "row => [...row.querySelectorAll('.ag-cell')].map(cell => cell.innerText).join(' '))"
    )
    wait_for(lambda: browser.execute_script(read), 20, "the rejected rows")
    return browser.execute_script(read)


def press(browser, by, what):
    """Click an element as soon as it is there, and stays while it is clicked."""

    def pressed():
        browser.find_element(by, what).click()
        return True

    wait_for(pressed, 20, what)


def test_the_banner_says_which_model_serves_and_who_approved_it(page):
    assert "Model version 1" in text(page, "#banner")
    assert "approved by Ann Example, " in text(page, "#banner")


def test_a_file_becomes_a_table_of_green_and_red(page, server, write, client_rows):
    words = [d["prediction"] for d in server.score(client_rows)[1]["decisions"]]
    chosen = [words.index("green"), *range(100, 110), words.index("red")]
    expected = [words[i] for i in chosen]
    rows = [client_rows[i] | {"client_id": f"C-{i}"} for i in chosen]
    upload(page, write(rows))
    n_red = expected.count("red")
    summary(
        page, ["12 clients", f"{12 - n_red} green", f"{n_red} red", "0 rejected", "Model version 1"]
    )
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "prediction")) == 12)
    assert [word for word, _ in cells(page, "prediction")] == expected
    assert all(word in classes.split() for word, classes in cells(page, "prediction"))
    titles = [t.text for t in page.find_elements(By.CSS_SELECTOR, ".ag-header-cell-text")]
    assert titles[:4] == ["Client", "Prediction", "Default risk", "Confidence"]
    read = (
        "return [...document.querySelectorAll(arguments[0])]"
        ".map(c => [c.innerText.trim(), getComputedStyle(c).color])"
    )
    colours = dict(page.execute_script(read, ".ag-cell[col-id=prediction]"))
    assert colours["green"] != colours["red"]


def test_rejected_rows_are_shown_with_their_messages_as_text(page, write, client_rows):
    bad = client_rows[1] | {"purpose": "<img src=x onerror=alert(1)>"}
    upload(page, write([client_rows[0], bad]))
    summary(page, ["2 clients", "1 rejected"])
    (shown,) = faults(page)
    assert "line 3: purpose '<img src=x onerror=alert(1)>' is not one of" in shown
    assert page.find_elements(By.CSS_SELECTOR, ".faults img") == []
    assert [
        e["message"] for e in page.get_log("browser") if "Content Security" in e["message"]
    ] == []


def test_rejected_rows_are_downloaded_mended_and_uploaded_again(page, write, client_rows, tmp_path):
    rows = [row | {"client_id": f"C-{i}", "note": f"n{i}"} for i, row in enumerate(client_rows[:5])]
    rows[1]["purpose"], rows[3]["duration"] = "yacht", "500"
    upload(page, write(rows))
    summary(page, ["5 clients", "2 rejected"])
    shown = faults(page)
    assert shown[0].startswith("2 purpose yacht line 3: ")
    assert shown[0].endswith(
        "domestic appliance, repairs, education, vacation, retraining, business, other"
    )
    assert shown[1].endswith("1 to 120")
    page.find_element(By.ID, "rejected").click()
    result = tmp_path / "downloads/clients-rejected.csv"
    wait_for(result.exists, 20, "the download")
    found = list(csv.DictReader(io.StringIO(result.read_text(encoding="utf-8-sig"))))
    assert [(row["client_id"], row["note"]) for row in found] == [("C-1", "n1"), ("C-3", "n3")]
    assert "yacht" in found[0]["what_is_wrong"]
    upload(
        page,
        write([found[0] | {"purpose": "business"}, found[1] | {"duration": "50"}], "mended.csv"),
    )
    summary(page, ["2 clients", "0 rejected"])


def test_file_without_a_decision_shows_why(page, write, client_rows):
    upload(
        page, write([{name: value for name, value in client_rows[0].items() if name != "duration"}])
    )
    summary(page, ["1 client", "0 green", "0 red", "1 rejected"])
    assert "column 'duration' is missing" in faults(page)[0]


@pytest.mark.slow
def test_a_thousand_rejected_rows_do_not_hold_the_page_up(page, write, client_rows):
    upload(
        page, write([client_rows[0], *[client_rows[1] | {"purpose": "yacht"}] * 1500], "many.csv")
    )
    summary(page, ["1,501 clients", "1,500 rejected"])
    assert faults(page)[0].startswith("2 purpose yacht line 3: ")
    assert "there may be more" in text(page, ".faults")
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "prediction")) == 1)


def test_the_result_is_downloaded_with_the_ignored_columns(page, write, client_rows, tmp_path):
    upload(page, write([row | {"note": f"=note {i}"} for i, row in enumerate(client_rows[:3])]))
    summary(page, ["3 clients"])
    for form in ("csv", "xlsx"):
        page.find_element(By.ID, f"download-{form}").click()
        wait_for((tmp_path / f"downloads/clients-result.{form}").exists, 20, "the download")
    with (tmp_path / "downloads/clients-result.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["note"] for row in rows] == ["'=note 0", "'=note 1", "'=note 2"]
    assert {row["prediction"] for row in rows} <= {"green", "red"}
    assert all(row["reasons"] for row in rows)
    (sheet,) = openpyxl.load_workbook(tmp_path / "downloads/clients-result.xlsx").worksheets
    assert [
        [str(cell.value or "") for cell in row] for row in sheet.iter_rows(min_row=2, max_col=1)
    ] == [[row["prediction"]] for row in rows]


@pytest.mark.slow
def test_the_same_file_can_be_uploaded_twice_and_each_keeps_its_result(page, write, client_rows):
    twice, other = write(client_rows[:2]), write(client_rows[:5], "other.csv")
    upload(page, twice)
    summary(page, ["2 clients"])
    upload(page, twice)
    WebDriverWait(page, 20).until(
        lambda b: len(b.find_elements(By.CSS_SELECTOR, "#files input")) == 2
    )
    upload(page, other)
    summary(page, ["5 clients"])
    choices = page.find_elements(By.CSS_SELECTOR, "#files input")
    assert len(choices) == 3
    choices[-1].click()
    summary(page, ["2 clients"])
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "prediction")) == 2)


def test_several_files_at_once_each_get_a_result(page, write, client_rows):
    upload(page, *(write(client_rows[:n], f"{n}.csv") for n in (1, 2, 3)))
    WebDriverWait(page, 30).until(
        lambda b: len(b.find_elements(By.CSS_SELECTOR, "#files input")) == 3
    )
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


def test_unreadable_file_gets_a_message_and_the_next_is_decided(page, tmp_path, write, client_rows):
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    upload(page, str(empty), write(client_rows[:2]))
    summary(page, ["2 clients"])
    assert "The file is empty." in text(page, "#transfers")


def test_a_file_can_be_dropped_anywhere_on_the_page(page, as_csv, client_rows):
    drop(page, as_csv(client_rows[:4]))
    summary(page, ["4 clients"])
    assert "dropped.csv" in text(page, "#result")


def drop(browser, content):
    """Drop a file on the page."""
    browser.execute_script(
        """
        const data = new DataTransfer();
        data.items.add(new File([arguments[0]], "dropped.csv"));
        const options = {dataTransfer: data, bubbles: true, cancelable: true};
        document.body.dispatchEvent(new DragEvent("dragover", options));
        document.body.dispatchEvent(new DragEvent("drop", options));
        """,
        content,
    )


def test_a_file_that_is_dropped_on_another_view_is_shown(page, as_csv, client_rows):
    page.find_element(By.ID, "to-history").click()
    wait_for(lambda: page.find_element(By.ID, "view-history").is_displayed(), 20, "the history")
    drop(page, as_csv(client_rows[:4]))
    summary(page, ["4 clients"])
    assert page.find_element(By.ID, "result").is_displayed()


def test_narrow_screen_shows_the_client_first(page, write, client_rows):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False},
    )
    upload(page, write([row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows[:3])]))
    summary(page, ["3 clients"])
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "client_id")) == 3)
    read = "return document.querySelector(arguments[0]).getBoundingClientRect().left"
    left = [
        page.execute_script(read, f".ag-cell[col-id={name}]")
        for name in ("client_id", "prediction", "risk")
    ]
    assert left == sorted(left)


@pytest.mark.slow
def test_lost_request_is_reported_and_retried(page, write, client_rows):
    upload(page, write([row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows * 5)]))
    summary(page, ["1,000 clients"])
    WebDriverWait(page, 20).until(lambda b: cells(b, "client_id"))
    page.execute_cdp_cmd("Network.enable", {})
    reach(page, offline=True)
    wait_for(lambda: "No answer from the service." in text(page, "#away"), 30, "the banner")
    assert not page.find_element(By.ID, "banner").is_displayed()
    page.find_element(By.ID, "download-csv").click()
    wait_for(
        lambda: "No answer came. Try again." in text(page, "#result"),
        20,
        "why there is no download",
    )
    page.execute_script("dash_ag_grid.getApi('decisions').ensureIndexVisible(700, 'middle')")
    wait_for(lambda: "C-700" not in dict(cells(page, "client_id")), 20, "rows that are not there")
    reach(page, offline=False)
    wait_for(lambda: page.find_element(By.ID, "banner").is_displayed(), 30, "the banner")
    wait_for(lambda: "C-700" in dict(cells(page, "client_id")), 60, "the rows")


def reach(browser, *, offline):
    """Take the network away, or give it back."""
    speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": offline} | speed)


def test_address_of_a_missing_file_is_reported(page, server):
    page.get(f"{server.url}/?batch=none")
    wait_for(
        lambda: "This file is not in the decision log." in text(page, "#result"),
        20,
        "why nothing is shown",
    )


def test_a_narrow_screen_needs_no_sideways_scrolling(server, chromium, write, client_rows):
    browser = chromium(width=500, height=900)
    browser.get(server.url)
    WebDriverWait(browser, 30).until(lambda b: "Model version" in text(b, "#banner"))
    upload(browser, write(client_rows[:3]))
    summary(browser, ["3 clients"])
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )


def open_row(browser, prediction):
    """Choose the first row of a colour."""
    press(browser, By.CSS_SELECTOR, f".ag-cell[col-id=prediction].{prediction}")


def opened(browser, words):
    """Wait until the panel holds some words, and return its text."""
    wait_for(lambda: words in text(browser, "#panel"), 20, f"{words!r} in the panel")
    return text(browser, "#panel")


def test_a_row_opens_its_reasons_and_takes_an_override(page, server, write, client_rows, tmp_path):
    upload(page, write([row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows[:30])]))
    summary(page, ["30 clients"])
    open_row(page, "red")
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
    assert "green Set by Ann. The model said red:\nred Default risk" in opened(page, "by Ann, ")
    wait_for(
        lambda: "green by Ann" in [word for word, _ in cells(page, "override")],
        20,
        "the override in the table",
    )
    (event,) = [e for e in server.decisions().events("override") if e["by"] == "Ann"]
    assert server.decisions().decision(event["key"])["prediction"] == "red", "both are kept"

    page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    wait_for(lambda: text(page, "#panel") == "", 20, "the panel closed")
    open_row(page, "green")
    assert "What would change it" not in opened(page, "What lowers it")
    name = page.find_element(By.ID, "override-by").get_attribute("value")
    assert name == "Ann", "a name is entered once"


@pytest.mark.slow
def test_sorting_and_filtering_reach_beyond_the_rows_that_are_shown(
    page, server, write, client_rows
):
    upload(page, write([row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows * 10)]))
    summary(page, ["2,000 clients"])
    body = server.decisions().read(next(server.decisions().latest_batches(limit=1)))
    WebDriverWait(page, 20).until(lambda b: cells(b, "client_id"))
    api = "dash_ag_grid.getApi('decisions')"
    # Where two of the blocks meet that the table asks for.
    page.execute_script(f"{api}.ensureIndexVisible(1500, 'middle')")
    wait_for(
        lambda: {"C-1499", "C-1500"} <= {word for word, _ in cells(page, "client_id")},
        20,
        "rows of both blocks",
    )
    page.execute_script(f"{api}.ensureIndexVisible(0)")
    title = page.find_element(By.CSS_SELECTOR, ".ag-header-cell[col-id=risk] .ag-header-cell-label")
    for _ in range(2):
        title.click()
    highest = f"{max(body['risk'].to_pylist()):.1%}"
    wait_for(lambda: cells(page, "risk")[0][0] == highest, 20, "the highest risk first")
    page.execute_script(
        "dash_ag_grid.getApi('decisions')"
        ".setFilterModel({purpose: {type: 'equals', filter: 'repairs (education)'}})"
    )
    wait_for(
        lambda: {word for word, _ in cells(page, "purpose")} in ({"repairs (education)"}, set()),
        20,
        "the filter",
    )
    n = body["purpose"].to_pylist().count("education")
    wait_for(
        lambda: (
            page.execute_script("return dash_ag_grid.getApi('decisions').getDisplayedRowCount()")
            == n
        ),
        20,
        "n",
    )


def fill(browser, application):
    """Type an application into the form."""
    for name, value in application.items():
        field = browser.find_element(By.ID, f"a-{name}")
        if field.tag_name == "select":
            Select(field).select_by_value(str(value))
        else:
            field.clear()
            field.send_keys(str(value))


def judged(browser, words):
    """Wait until the form's result holds some words, and return it."""
    wait_for(lambda: words in text(browser, "#judged"), 20, f"{words!r} beside the form")
    return text(browser, "#judged")


def test_one_client_is_judged_while_it_is_typed_and_decided_on_request(page, server, client_rows):
    before = len(server.decisions().batches())
    page.find_element(By.ID, "to-client").click()
    take = page.find_element(By.ID, "take")
    fill(page, client_rows[0] | {"client_id": "By hand"})
    first = judged(page, "Preview: not recorded")
    assert "What raises the risk" in first
    fill(page, {"duration": 6})
    wait_for(lambda: text(page, "#judged") not in (first, ""), 20, "another risk")
    assert len(server.decisions().batches()) == before, "previews are kept out"
    fill(page, {"duration": 500})
    judged(page, "duration '500' is outside 1 to 120.")
    assert not take.is_enabled()
    fill(page, {"duration": 12})
    judged(page, "Preview")
    wait_for(take.is_enabled, 20, "the button")
    take.click()
    assert "One client by hand" in judged(page, "Decision taken.")
    assert not take.is_enabled()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert page.find_element(By.CSS_SELECTOR, "#judged .badge").is_displayed(), (
        "and is seen on paper"
    )
    assert not take.is_displayed()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    (record,) = server.decisions().batches()[before:]
    (decision,) = server.decisions().read(record).to_pylist()
    assert (decision["client_id"], decision["duration"]) == ("By hand", 12)
    page.find_element(By.ID, "clear").click()
    wait_for(lambda: text(page, "#judged") == "", 20, "an empty form")
    assert page.find_element(By.ID, "a-duration").get_attribute("value") == ""


@pytest.mark.slow
def test_past_files_and_decisions_are_found_opened_and_printed(page, server, write, client_rows):
    upload(
        page,
        write(
            [row | {"client_id": f"Past-{i}"} for i, row in enumerate(client_rows[:3])], "past.csv"
        ),
    )
    summary(page, ["3 clients"])
    page.find_element(By.ID, "to-history").click()
    find = page.find_element(By.ID, "find-text")
    find.send_keys("Past-2", Keys.ENTER)
    wait_for(lambda: "Decisions" in text(page, "#found"), 20, "the client's decision")
    press(page, By.LINK_TEXT, "Past-2")
    assert "past.csv" in opened(page, "Client Past-2")
    address = page.current_url
    assert "/decision?id=" in address

    page.get(address)
    opened(page, "Client Past-2")
    pdf = base64.b64decode(page.print_page())
    assert pdf.startswith(b"%PDF")
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    parts = page.find_elements(By.CSS_SELECTOR, "#panel details")
    assert len(parts) >= 2
    assert all(part.get_attribute("open") for part in parts), "paper shows all of it"

    page.find_element(By.ID, "to-history").click()
    find = page.find_element(By.ID, "find-text")
    find.clear()
    find.send_keys("past.csv", Keys.ENTER)
    press(page, By.LINK_TEXT, "past.csv")
    summary(page, ["3 clients"])
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "prediction")) == 3)


def test_texts_of_people_are_not_markup_on_any_view(page, server, write, client_rows):
    markup = "<img src=x onerror=window.ran=1>"

    def assert_inert():
        assert page.execute_script("return window.ran") is None
        assert page.find_elements(By.CSS_SELECTOR, "img[src=x]") == []

    rows = [
        row | {"client_id": f"{markup}{i}", f"note {markup}": markup}
        for i, row in enumerate(client_rows[:30])
    ]
    upload(page, write([*rows, rows[0] | {"purpose": markup}], f"{markup}.csv"))
    summary(page, ["31 clients", "1 rejected"])
    assert markup in faults(page)[0]
    open_row(page, "red")
    opened(page, f"Client {markup}")
    page.find_element(By.ID, "override-by").send_keys(markup)
    page.find_element(By.ID, "override-reason").send_keys(markup)
    page.find_element(By.ID, "override-set").click()
    opened(page, f"Set by {markup}")
    assert_inert()

    page.find_element(By.ID, "to-history").click()
    page.find_element(By.ID, "find-text").send_keys(f"{markup}.csv", Keys.ENTER)
    wait_for(lambda: f"{markup}.csv" in text(page, "#found"), 20, "the file in the history")
    assert_inert()
    (event,) = [e for e in server.decisions().events("override") if e["by"] == markup]
    page.get(f"{server.url}/decision?id={event['key']}")
    opened(page, f"Set by {markup}")
    assert_inert()
    assert [
        e["message"] for e in page.get_log("browser") if "Content Security" in e["message"]
    ] == []


def test_axe_finds_nothing_serious_on_any_view(page, write, client_rows):
    rows = [row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows[:5])]
    upload(page, write([*rows, rows[0] | {"purpose": "yacht"}]))
    summary(page, ["6 clients"])
    open_row(page, "red")
    opened(page, "What would change it")
    accessible(page)
    page.find_element(By.ID, "panel-close").click()
    page.find_element(By.ID, "to-client").click()
    fill(page, client_rows[0])
    judged(page, "What raises the risk")
    accessible(page)
    page.find_element(By.ID, "to-history").click()
    wait_for(lambda: "clients.csv" in text(page, "#found"), 20, "the file")
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    accessible(page)
    page.find_element(By.ID, "to-files").click()
    accessible(page)


def accessible(browser):
    """Fail with what axe-core finds serious on the page as it is shown."""
    if not browser.execute_script("return Boolean(window.axe)"):
        browser.execute_script(AXE.read_text())
    found = browser.execute_async_script("axe.run().then(r => arguments[0](r.violations))")
    serious = {
        v["id"]: [node["html"] for node in v["nodes"]]
        for v in found
        if v["impact"] in ("serious", "critical")
    }
    assert serious == {}


@pytest.mark.slow
def test_keyboard_reaches_everything_in_visual_order(page, write, client_rows):
    upload(page, write(client_rows[:2]))
    summary(page, ["2 clients"])
    page.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(14):
        page.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(
            page.switch_to.active_element.get_attribute("id")
            or page.switch_to.active_element.tag_name
        )
    order = [
        id
        for id in reached
        if id in ("to-files", "to-client", "to-history", "choose", "download-csv")
    ]
    assert order == ["to-files", "to-client", "to-history", "choose", "download-csv"]


def test_a_row_is_opened_and_closed_with_the_keyboard(page, write, client_rows):
    upload(page, write([row | {"client_id": f"C-{i}"} for i, row in enumerate(client_rows[:3])]))
    summary(page, ["3 clients"])
    WebDriverWait(page, 20).until(lambda b: len(cells(b, "client_id")) == 3)
    page.execute_script("dash_ag_grid.getApi('decisions').setFocusedCell(1, 'client_id')")
    wait_for(lambda: page.switch_to.active_element.text == "C-1", 20, "the keyboard in the table")
    page.switch_to.active_element.send_keys(Keys.SPACE)
    opened(page, "Client C-1")
    focused = lambda: page.switch_to.active_element.get_attribute("id")  # noqa: E731
    wait_for(lambda: focused() == "panel-title", 20, "the keyboard in the panel")
    page.find_element(By.ID, "override-set").send_keys(Keys.ENTER)
    opened(page, "is empty")
    wait_for(lambda: focused() == "override-set", 20, "the keyboard at what is not done yet")
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_for(lambda: text(page, "#panel") == "", 20, "the panel closed")
    wait_for(
        lambda: page.switch_to.active_element.text == "C-1", 20, "the keyboard where it came from"
    )


def test_histogram_shows_how_many_are_below_the_threshold(page, write, client_rows):
    upload(page, write(client_rows[:50]))
    found = summary(page, ["50 clients"])
    n_green = re.search(r"(\d+) green", found)[1]
    label = page.find_element(By.CSS_SELECTOR, ".histogram").get_attribute("aria-label")
    assert label.startswith(
        f"Histogram of the risk of 50 clients: {n_green} below the threshold of 16.7%"
    )
    assert len(page.find_elements(By.CSS_SELECTOR, ".histogram .bar")) == 25


def test_template_and_sample_are_downloaded_and_the_sample_decided(page, server):
    links = {
        a.text: a.get_attribute("href") for a in page.find_elements(By.CSS_SELECTOR, "#drop a")
    }
    status, template = server.get(links["Empty template"].removeprefix(server.url))
    assert status == 200
    assert template.strip().split(",") == ["client_id", *NAMES]
    upload(page, str(SAMPLE))
    summary(page, ["10 clients", "0 rejected"])
    assert "This is the sample file: a preview" in text(page, "#result")
    previews = server.decisions().storage.documents.find("previews", {})
    assert [preview["n_decided"] for preview in previews] == [10]
    open_row(page, "red")
    assert "it is not recorded as a decision" in opened(page, "A preview")
    assert page.find_elements(By.ID, "override-set") == []
