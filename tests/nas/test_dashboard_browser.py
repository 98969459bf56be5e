"""The dashboard in a real browser (headless Chromium), beside a search that runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dashboard import journal
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select, WebDriverWait

from nas.home import open_log

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Require = Callable[[str, bool, str], None]
PATIENCE = 180.0  # seconds: the machine may be busy
JOB = """\
name: tune
task: {name: "tuned:train", decisions: {x: {range: [0.0, 1.0]}, mode: {choice: [plain, "<b>bold</b>"]}}}
budget: {trials: 5000}
strategy: random
pool: {name: local, slots: 2}
final: {top: 0}
"""
TRAIN = """\
import time

def train(decisions):
    time.sleep(0.2)
    return decisions["x"] * 0.5 + (decisions["x"] == 1.0)
"""
LONG = "as-long-a-name-as-people-give-who-name-searches-by-machine-and-by-date-gpu-node-17-2026-11-20"
CROWDED = "return [...document.querySelectorAll('.list .wide')].some(one => one.scrollWidth > one.clientWidth)"
FOLLOW = "const a = [...document.links].find(a => a.textContent === arguments[0]); if (a) a.click(); return !!a"
MARK = "window.hereSince = window.hereSince || Math.random(); return window.hereSince"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small search that has ended, and a folder with a job."""
    folder = tmp_path_factory.mktemp("browser")
    log = open_log(str(folder / "home"))
    journal(log, "cells", 10, ended=True)
    journal(log, LONG, 10, ended=True)
    log.close()
    (folder / "job.yaml").write_text(JOB)
    (folder / "tuned.py").write_text(TRAIN)
    return folder


@contextmanager
def running(*command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of ours, gone afterwards with all its children."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nas", *command, "--journal", str(folder / "home")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NAS_HOME": str(folder / "home")},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture(scope="module")
def open_browser(
    require: Require, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int, bool], WebDriver]]:
    """Opens browsers of a width, light or dark; closes them all."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    require("browser", bool(chromium and driver), "chromium and chromedriver are not installed")
    opened: list[WebDriver] = []

    def make(width: int, dark: bool = False) -> WebDriver:
        options = Options()
        options.binary_location = str(chromium)
        for one in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(one)
        options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=Service(str(driver)))
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        opened.append(browser)
        return browser

    yield make
    for browser in opened:
        browser.quit()


def until(browser: WebDriver, holds: Callable[[], Any], what: str) -> Any:
    """Wait until `holds` gives something; a part may be replaced while it is looked at."""

    def look(_: WebDriver) -> Any:
        try:
            return holds()
        except Exception:
            return False

    return WebDriverWait(browser, PATIENCE, poll_frequency=0.1).until(look, what)


def text(browser: WebDriver, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, selector).text


def column(browser: WebDriver, number: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll(`#table tbody tr > :nth-child(${arguments[0]})`)].map(c => c.innerText)"
    )
    return list(browser.execute_script(script, number))


def complaints(browser: WebDriver) -> list[str]:
    """The errors in the console since the last time: also where a violated content security policy would be."""
    said: list[dict[str, str]] = browser.execute(Command.GET_LOG, {"type": "browser"})["value"]
    return [one["message"] for one in said if one["level"] == "SEVERE"]


def quiet(browser: WebDriver) -> None:
    assert complaints(browser) == []


def test_a_running_search_is_watched_and_steered(home: Path, open_browser: Callable[..., WebDriver]) -> None:
    browser = open_browser(1280)
    with (
        running("dashboard", "--steer", "--port", "0", folder=home) as server,
        running("run", "job.yaml", "--quiet", folder=home) as search,
    ):
        address = first_line(server)
        assert first_line(search) == "tune"
        base = address.split("login")[0]
        token = address.split("#")[1]
        browser.get(address)
        until(browser, lambda: browser.current_url == base, "the login")
        cookies = browser.get_cookies()
        assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
        assert token not in json.dumps(cookies)
        watch_the_best(browser, base)
        filter_and_sort(browser)
        quiet(browser)
        stop(browser, search)
        quiet(browser)


def watch_the_best(browser: WebDriver, base: str) -> None:
    """A candidate that is enqueued in another window changes the best of this one, which is never loaded again."""
    until(browser, lambda: browser.execute_script(FOLLOW, "tune"), "the search in the list")
    before = until(browser, lambda: float(text(browser, "#best")) > 0 and text(browser, "#best"), "a first best")
    mark = browser.execute_script(MARK)
    window = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(f"{base}searches/tune/enqueue")
    field = browser.find_element(By.NAME, "x")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("7")
    browser.find_element(By.ID, "candidate").clear()
    browser.find_element(By.ID, "candidate").send_keys('{"x": 7, "mode": "plain"}')
    browser.find_element(By.CSS_SELECTOR, "#json button").click()
    until(browser, lambda: "must be a number from" in text(browser, "#said"), "a candidate that is refused")
    assert all("400" in one for one in complaints(browser))  # the refusal itself
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("1")
    browser.find_element(By.CSS_SELECTOR, "#decisions button").click()
    until(browser, lambda: "will try it" in text(browser, "#said"), "a candidate that is taken")
    browser.close()
    browser.switch_to.window(window)
    until(browser, lambda: text(browser, "#best") == "1.5", f"a best above {before}")
    assert browser.execute_script(MARK) == mark
    assert browser.find_elements(By.CSS_SELECTOR, '[data-part="race"] svg .line.own')


def filter_and_sort(browser: WebDriver) -> None:
    """The table follows its form and its headings, without leaving the page."""
    mark = browser.execute_script(MARK)
    Select(browser.find_element(By.NAME, "state")).select_by_visible_text("completed")
    until(browser, lambda: set(column(browser, 2)) == {"completed"}, "only completed trials")
    browser.execute_script("document.querySelector('#table th:nth-child(3) a').click()")  # found and clicked at once
    until(browser, lambda: browser.find_element(By.CSS_SELECTOR, "th[aria-sort=descending]"), "a sorted column")
    values = [float(one) for one in column(browser, 3)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1.5
    assert "state=completed" in browser.current_url
    assert "sort=" in browser.current_url
    turn_to(browser, 2, "26 to")
    search = browser.find_element(By.NAME, "text")
    search.send_keys("no such thing")
    until(browser, lambda: "is like this" in text(browser, "#table"), "nothing like this")
    assert browser.execute_script(MARK) == mark
    assert browser.switch_to.active_element == search  # the field keeps the keyboard


def turn_to(browser: WebDriver, page: int, shown: str) -> None:
    """Turn to another page; its link may be replaced just then, and asking twice is as good as once."""

    def turned() -> bool:
        if not text(browser, "#shown").startswith(shown):
            browser.find_element(By.CSS_SELECTOR, f".more a[href$='page={page}']").click()
        return text(browser, "#shown").startswith(shown)

    until(browser, turned, f"the page from {shown}")


def stop(browser: WebDriver, search: subprocess.Popen[str]) -> None:
    """The button asks first; then the search stops, and the page says so."""
    browser.find_element(By.CSS_SELECTOR, "[data-opens=stop]").click()
    browser.find_element(By.CSS_SELECTOR, "#stop [data-closes]").click()
    assert search.poll() is None
    browser.find_element(By.CSS_SELECTOR, "[data-opens=stop]").click()
    browser.find_element(By.ID, "stop-now").click()
    assert search.wait(PATIENCE) == 130
    until(browser, lambda: text(browser, "h1 .chip") == "stopped", "the state")


def test_without_a_token_nothing_can_be_changed_and_all_is_seen(
    home: Path, open_browser: Callable[..., WebDriver]
) -> None:
    browser = open_browser(390, True)
    with running("dashboard", "--port", "0", folder=home) as server:
        base = first_line(server)
        browser.get(f"{base}searches/cells")
        assert not browser.find_elements(By.CSS_SELECTOR, "[data-opens], [data-post]")
        refused = browser.execute_async_script(
            "const done = arguments[0]; fetch('/searches/cells/stop', {method: 'POST', body: '{}',"
            " headers: {'Content-Type': 'application/json'}}).then(a => done(a.status))"
        )
        assert refused == 403
        assert all("403" in one for one in complaints(browser))
        for path in ("", "searches/cells", "searches/cells/trials/5", "login"):
            browser.get(f"{base}{path}")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, path
        for width in (1280, 390):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get(base)
            until(browser, lambda: LONG in text(browser, ".list"), "the list")
            assert not browser.execute_script(CROWDED), width
        dark = browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
        assert dark == "rgb(13, 17, 23)"
        browser.get(f"{base}searches/cells/trials/5")
        drawing = until(browser, lambda: browser.find_element(By.CSS_SELECTOR, ".drawn svg"), "the network")
        assert "nodes" in drawing.get_attribute("aria-label")
        until(browser, lambda: "left no files" in text(browser, "[data-fetch$=files]"), "the files")
        quiet(browser)


def test_a_hundred_thousand_trials_are_usable(tmp_path: Path, open_browser: Callable[..., WebDriver]) -> None:
    log = open_log(str(tmp_path / "home"))
    journal(log, "cells", 100_000, ended=True)
    log.close()
    browser = open_browser(1280)
    with running("dashboard", "--port", "0", folder=tmp_path) as server:
        base = first_line(server)
        browser.get(f"{base}searches/cells")
        assert "being read" in browser.page_source
        until(browser, lambda: text(browser, "#shown") == "1 to 25 of 100,000", "the page")
        mark = browser.execute_script(MARK)
        browser.find_element(By.PARTIAL_LINK_TEXT, "accuracy").click()
        until(browser, lambda: browser.find_element(By.CSS_SELECTOR, "th[aria-sort=descending]"), "a sorted column")
        best = column(browser, 3)
        assert best == sorted(best, reverse=True)
        turn_to(browser, 4000, "99,976 to 100,000")
        assert browser.execute_script(MARK) == mark
        assert len(browser.page_source) < 300_000
        quiet(browser)
