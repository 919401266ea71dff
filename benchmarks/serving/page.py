"""The page in a real browser: how long a clerk waits for the result of a file.

Both moments are the browser's own: the file input's change event, which dropping a file causes too,
and the first frame that shows the summary and decisions in the table.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.clients import FEW_TREES, write_clients
from benchmarks.harness import Line
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import riskometer

ROWS = 1000
WHAT = "1,000 rows on the page, until the result is seen"

_PATIENCE = 60
_WATCH = """
const rows = arguments[0];
document.getElementById("file-input").addEventListener("change", () => {
  const begun = performance.now();
  const look = () => {
    const summary = document.getElementById("summary");
    const cells = [...document.querySelectorAll(".ag-cell[col-id=prediction]")];
    const words = cells.map(cell => cell.innerText.trim());
    const there = summary && summary.innerText.replace(/\\s+/g, " ").includes(`${rows} clients`);
    if (there && words.some(Boolean)) window.waited = performance.now() - begun;
    else requestAnimationFrame(look);
  };
  look();
}, { capture: true, once: true });
"""


def has_browser() -> bool:
    """Return whether Chromium and its driver are installed."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the line of a clerk's wait for the result of 1,000 clients."""
    if not has_browser():
        yield Line(WHAT, left_out="there is no chromium with chromedriver here")
        return

    place.scorer(FEW_TREES)
    folder = place.folder("page")
    source = folder / "thousand.csv"
    write_clients(ROWS, source)
    with riskometer(folder, place.registry, FEW_TREES) as server, _browser(folder) as browser:
        _waited(browser, server.url, source, ROWS)  # on a cold browser, which does not count
        waited = [_waited(browser, server.url, source, ROWS) for _ in range(sizes.rounds)]
    yield Line(WHAT, "s", tuple(waited))


def _waited(browser: webdriver.Chrome, url: str, source: Path, rows: int) -> float:
    browser.get(url)
    WebDriverWait(browser, _PATIENCE, ignored_exceptions=[Exception]).until(
        lambda b: "Model version" in b.find_element(By.ID, "banner").text
    )
    browser.execute_script(_WATCH, f"{rows:,}")
    browser.find_element(By.ID, "file-input").send_keys(str(source))
    waited = WebDriverWait(browser, _PATIENCE).until(
        lambda b: b.execute_script("return window.waited")
    )
    return float(waited) / 1000


@contextmanager
def _browser(folder: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1366,768",
    ):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={folder / 'browser'}")

    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()
