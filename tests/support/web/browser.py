"""A real Chromium, one per session of tests, and what must hold of every page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, NARROW = (1280, 800), (390, 844)


def require_chromium() -> None:
    """Skip a test where there is no Chromium; fail it in CI as root, where .ci/run has installed it."""
    if shutil.which(CHROMIUM) is None:
        reason = f"{CHROMIUM} not found: apt-get install chromium"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def running_browser() -> Iterator["Browser"]:
    """Give a Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class WatchedPage:
    """A page whose faults are collected: console errors, violations of the CSP, requests to elsewhere."""

    def __init__(self, browser: "Browser", url: str, *, size: tuple[int, int] = WIDE, dark: bool = True,
                 scripts: bool = True) -> None:  # fmt: skip
        """
        Args:
            browser: That opens it.
            url: Address of the program; requests to any other are faults.
            size: Width and height, pixels.
            dark: Colour scheme.
            scripts: Whether scripts run.
        """
        self._origin = urlsplit(url).netloc
        self._url = url
        self._context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )  # fmt: skip
        self.page: Page = self._context.new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda message: self._on_console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("request", lambda request: self._on_request(request.url))

    def open(self, path: str, *, ready: str = "html[data-ready]") -> "Page":
        """Open a page and wait until an element is there; not by wait_for_function, which the CSP forbids."""
        self.page.goto(self._url + path, wait_until="domcontentloaded")
        self.page.locator(ready).wait_for(state="attached", timeout=20_000)
        return self.page

    def log_in(self, name: str, password: str) -> None:
        """Log in by the form."""
        self.page.goto(f"{self._url}/login")
        self.page.fill("#name", name)
        self.page.fill("#password", password)
        self.page.click("main button[type=submit]")
        self.page.wait_for_url(lambda url: "/login" not in url)

    def overflows(self) -> bool:
        """Return whether the page is wider than its window, so that all of it must be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def screenshot(self, path: Path) -> None:
        """Keep what it looks like, for a person."""
        self.page.screenshot(path=path, full_page=True)

    def close(self) -> None:
        """Close it."""
        self._context.close()

    def _on_console(self, kind: str, text: str) -> None:
        if kind == "error":
            self.faults.append(f"console: {text}")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self._origin:
            self.faults.append(f"request to {url[:200]}")


def wait_for(page: "Page", expression: str) -> None:
    """Wait until an expression of the page holds; by frames, because the CSP forbids what evaluates texts."""
    script = f"""() => new Promise((done, failed) => {{
        const end = performance.now() + 15000;
        const look = () => ({expression}) ? done() : performance.now() > end ? failed(new Error("not within 15 s"))
            : requestAnimationFrame(look);
        look();
    }})"""
    page.evaluate(script)
