"""A headless browser for the stories; what it lacks is a reason to skip, never to pass."""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PATIENCE = 120_000  # milliseconds; machines that test are busy
LONGEST_STORY = 240.0  # seconds; less than pytest-timeout has, which does not know how to end it
LOOK_EVERY = 0.5  # seconds
CLOSING = 20.0  # seconds that a browser may take to end by itself


def find_browser() -> str:
    """The browser's program: `JUKEBOX_BROWSER`, or one on PATH. Skips the test where there is none.

    Who names one in `JUKEBOX_BROWSER`, as `.ci/run` does, wants the stories played: then what is
    missing is a failure.
    """
    named = os.environ.get("JUKEBOX_BROWSER")
    if named:
        assert shutil.which(named), f"JUKEBOX_BROWSER is {named}, which is no program"
        return named
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} on PATH, and no JUKEBOX_BROWSER")
    return found


class RunningBrowser:
    """A browser of our own, which is started again for the story after the one that broke it.

    Attributes:
        browser: Playwright's `Browser`.
    """

    def __init__(self) -> None:
        self.program = find_browser()
        if not os.environ.get("JUKEBOX_BROWSER"):
            pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
        self._start()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        before = set(psutil.Process().children())
        self._playwright = sync_playwright().start()
        self.processes = [one for one in psutil.Process().children() if one not in before]
        self.browser = self._playwright.chromium.launch(executable_path=self.program)

    def new_context(self, **options: Any) -> Any:
        """Playwright's `BrowserContext`, in this browser or in one that takes its place."""
        if not (self.browser.is_connected() and all(one.is_running() for one in self.processes)):
            self.close()
            self._start()
        return self.browser.new_context(**options)

    def kill(self) -> None:
        """End it at once; whatever waits for it fails."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for driver in self.processes:
                for one in (*driver.children(recursive=True), driver):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        one.kill()

    def close(self) -> None:
        timer = threading.Timer(CLOSING, self.kill)
        timer.start()
        with contextlib.suppress(Exception):  # it may be gone already
            self.browser.close()
        with contextlib.suppress(Exception):
            self._playwright.stop()
        timer.cancel()

    @contextlib.contextmanager
    def watched(self, trouble: Callable[[], str | None] = lambda: None) -> Iterator[None]:
        """End the browser as soon as there is trouble, or after `LONGEST_STORY`, and say why.

        Some calls of Playwright wait without end for a browser that hangs, and a page waits long
        for a server that is gone. Without a browser every call fails.
        """
        ended = threading.Event()
        reasons: list[str] = []

        def watch() -> None:
            for _ in range(int(LONGEST_STORY / LOOK_EVERY)):
                if ended.wait(LOOK_EVERY):
                    return
                if reason := trouble():
                    break
            else:
                reason = f"the story took longer than {LONGEST_STORY:g} seconds"
            reasons.append(reason)
            self.kill()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            if reasons:
                pytest.fail(f"{reasons[0]}, so the browser was ended", pytrace=False)


def launch() -> Iterator[RunningBrowser]:
    """A running browser, for as long as one holds on to it."""
    running = RunningBrowser()
    yield running
    running.close()


class Visit:
    """A page that somebody has open, with what went wrong in it.

    Attributes:
        page: Playwright's `Page`.
        errors: messages of the console and of scripts.
        requests: addresses that were asked for.
    """

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 850}, **options}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def button(self, name: str, *, exact: bool = False) -> Any:
        return self.page.get_by_role("button", name=name, exact=exact).first

    def heading(self, name: str) -> Any:
        return self.page.get_by_role("heading", name=name, exact=True)

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)

    def look_again(self) -> None:
        """Let the page ask for the state now, as one does that is seen again; it asks anyway."""
        self.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def wait_until(self, script: str, *, every: float = 100) -> Any:
        """Wait until an expression in the page is true; returns what it gives.

        Playwright's own `wait_for_function` needs what our policy for scripts forbids.
        """
        for _ in range(int(PATIENCE / every)):
            found = self.evaluate(script)
            if found:
                return found
            self.page.wait_for_timeout(every)
        raise AssertionError(f"never true: {script}; {self.evaluate('studio.state')}")

    def fill_new(self, **fields: str) -> None:
        """Open the form for a new piece, and fill it in."""
        self.button("New piece").click()
        for name, value in fields.items():
            field = self.page.locator(f"#f-{name}")
            field.wait_for(state="attached")
            if not field.is_visible():
                self.page.get_by_text("More settings").click()
            field.fill(value)

    def make(self, **fields: str) -> str:
        """Make a new piece and see it; returns its name."""
        before = self.evaluate("studio.view.name")
        self.fill_new(**fields)
        self.button("Make", exact=True).click()
        name = str(
            self.wait_until(f"studio.view.name !== {json.dumps(before)} && studio.view.name")
        )
        self.heading(name).wait_for()
        return name

    def wait_for(self, state: str) -> None:
        """Wait until the open piece, and not the one seen before it, is in a state."""
        reached = self.wait_until(
            f"studio.state?.piece?.name === studio.view.name"
            f" && [{state!r}, 'failed'].includes(studio.state.piece.state)"
            " && studio.state.piece.state"
        )
        assert reached == state, self.evaluate("studio.state.queue")

    def close(self) -> None:
        with contextlib.suppress(Exception):  # of a browser that is gone, which the story says
            self.context.close()


def violations(seen: Visit, rule: str | None = None) -> list[str]:
    """What axe-core finds against the rules of WCAG 2.2, levels A and AA, or against one rule."""
    import axe_playwright_python

    script = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    if not seen.evaluate("typeof axe !== 'undefined'"):
        seen.evaluate(script.read_text(encoding="utf-8"))
    tags = [rule] if rule else ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = seen.evaluate(f"axe.run({{runOnly: {json.dumps(tags)}}})")
    return [
        f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]
    ]
