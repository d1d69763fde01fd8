"""The report in a real browser, without a network: nothing is asked for, the slider moves the contour."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

from tests.agents.report_kit import opened

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_HOW = "no chromium here; Debian: apt-get install -y chromium"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if _CHROMIUM is None:
        assert not os.environ.get("CI"), _HOW
        pytest.skip(_HOW)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield started
        started.close()


class Visit:
    """A page that is open, and everything that it did on its own."""

    def __init__(self, browser: Browser, file: Path, width: int = 1100, scheme: str = "light") -> None:
        self._context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light", offline=True
        )
        self.page: Page = self._context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.goto(file.as_uri())

    def _dismiss(self, dialog: Dialog) -> None:
        self.said.append(dialog.message)
        dialog.dismiss()

    def contours(self) -> list[str]:
        """The lines that can be seen."""
        found = self.page.locator("svg.map path.line").all()
        return [line.get_attribute("d") or "" for line in found if line.is_visible()]

    def points(self, kind: str = ".point:not(.next)") -> int:
        """Number of points that can be seen."""
        return sum(p.is_visible() for p in self.page.locator(f"svg.map {kind}").all())

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def visit(browser: Browser, finished: Path) -> Iterator[Visit]:
    made = Visit(browser, finished / "report.html")
    yield made
    made.close()


def test_nothing_is_asked_of_anybody(visit: Visit, finished: Path) -> None:
    visit.page.locator("#slider").press("Home")
    assert visit.asked == [(finished / "report.html").as_uri()]
    assert visit.said == []


def test_what_would_ask_is_stopped_by_the_policy(visit: Visit) -> None:
    failures: list[str | None] = []
    visit.page.on("requestfailed", lambda request: failures.append(request.failure))
    stopped = visit.page.evaluate(
        """() => new Promise((done) => {
             document.addEventListener("securitypolicyviolation", (e) => done(e.effectiveDirective));
             const image = new Image(); image.src = "https://example.org/a.png"; document.body.append(image);
           })"""
    )
    assert stopped == "img-src"
    assert failures == ["csp"]


def test_the_slider_moves_the_contour_also_by_the_keyboard(visit: Visit) -> None:
    slider, note = visit.page.locator("#slider"), visit.page.locator("#note")
    last = visit.contours()
    assert len(last) == 2
    assert re.match(r"Iteration 3 of 3: [12]\d evaluations", note.inner_text())
    assert visit.points() == 26
    slider.press("ArrowLeft")
    middle = visit.contours()
    slider.press("Home")
    first = visit.contours()
    assert len({tuple(last), tuple(middle), tuple(first)}) == 3
    assert "Iteration 1 of 3" in note.inner_text()
    assert slider.get_attribute("aria-valuetext") == "iteration 1 of 3"
    assert (visit.points(), visit.points(".next")) == (10, 8)
    slider.press("End")
    assert visit.contours() == last


def test_a_target_can_be_hidden(visit: Visit) -> None:
    both = visit.contours()
    visit.page.get_by_label("obs = 0.05").uncheck()
    assert visit.contours() == both[1:]
    assert visit.page.locator("svg.map.single").count() == 1


def test_play_goes_to_the_end(visit: Visit) -> None:
    visit.page.clock.install()
    play, note = visit.page.locator("#play"), visit.page.locator("#note")
    play.click()
    assert "Iteration 1 of 3" in note.inner_text()
    assert play.inner_text() == "Stop"
    visit.page.clock.run_for(2000)
    assert "Iteration 3 of 3" in note.inner_text()
    assert play.inner_text() == "Play"


def test_without_scripts_the_last_map_is_there(browser: Browser, finished: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((finished / "report.html").as_uri())
    assert page.locator("svg.map path.line:visible").count() == 2
    assert not page.locator("#slider").is_visible()
    context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (1100, "dark"), (360, "light")])
def test_nothing_is_wider_than_the_window_and_text_can_be_read(
    browser: Browser, finished: Path, width: int, scheme: str
) -> None:
    visit = Visit(browser, finished / "report.html", width, scheme)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (
        visit.page.evaluate(f"getComputedStyle(document.body).{what}") for what in ("color", "backgroundColor")
    )
    assert (_light(ink), _light(paper)) == ((True, False) if scheme == "dark" else (False, True))
    visit.close()


def _light(colour: str) -> bool:
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) > 3 * 128


def test_a_large_page_opens_and_its_slider_goes_through_all_iterations(browser: Browser, large_page: Path) -> None:
    visit = Visit(browser, large_page)
    assert visit.points() == 300
    visit.page.locator("#slider").fill("20")
    assert "Iteration 21 of 40" in visit.page.locator("#note").inner_text()
    assert (visit.asked, visit.said) == ([large_page.as_uri()], [])
    visit.close()


def test_a_script_in_a_failure_is_shown_and_never_run(
    browser: Browser, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from idds_agents.report import facts
    from idds_agents.report.page import write_report

    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    store, view = opened(finished)
    attempts = [dataclasses.replace(store.jobs.failed_attempts(1)[0], reason=evil, failure_code=evil)]
    monkeypatch.setattr(store.jobs, "failed_attempts", lambda _: attempts)
    monkeypatch.setattr(facts, "tail", lambda _: evil)
    write_report(view, store, tmp_path / "evil.html")
    store.close()
    visit = Visit(browser, tmp_path / "evil.html")
    assert visit.page.get_by_text(evil).count() >= 2
    assert visit.page.locator("img").count() == 0
    assert (len(visit.asked), visit.said) == (1, [])
    visit.close()
