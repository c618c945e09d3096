"""Chromium on the built site, without a network; ``python -m tools.screenshots FOLDER`` pictures every page."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tools.notebooks import ROOT, pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Theme = Literal["light", "dark"]

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
)
WIDTHS = {"desktop": 1280, "phone": 390}
THEMES: tuple[Theme, ...] = ("light", "dark")
HEIGHT = 900
TYPESET = """async () => {
    if (window.MathJax?.startup) await MathJax.startup.promise;
    await document.fonts.ready;
}"""


def find_browser() -> str | None:
    """Path of a Chromium or Chrome, from ``$WAVESCORE_CHROMIUM`` or the search path."""
    named = os.environ.get("WAVESCORE_CHROMIUM")
    candidates = (named,) if named else BROWSERS
    return next(filter(None, map(shutil.which, candidates)), None)


@contextmanager
def launch(executable: str) -> Iterator[Browser]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def offline_page(browser: Browser, width: int, theme: Theme) -> Iterator[Page]:
    """A page of that width and colour scheme, which can reach files and nothing else."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme=theme,
        offline=True,
        reduced_motion="reduce",
    )
    yield context.new_page()
    context.close()


def visit(page: Page, path: Path) -> None:
    """Open a built page and wait until its equations and fonts are there."""
    page.goto(path.resolve().as_uri())
    page.evaluate(TYPESET)


def built_pages(site: Path) -> list[Path]:
    """The pages of the table of contents, as built."""
    return [site / page.relative_to(ROOT).with_suffix(".html") for page in pages()]


def main() -> None:
    """Save a picture of each page at both widths and in both themes."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--site", type=Path, default=ROOT / "_build" / "html", help="default: %(default)s")
    arguments = parser.parse_args()
    executable = find_browser()
    if executable is None:
        sys.exit(f"No browser found; looked for {', '.join(BROWSERS)}. Name one with WAVESCORE_CHROMIUM.")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with launch(executable) as browser:
        for name, width in WIDTHS.items():
            for theme in THEMES:
                with offline_page(browser, width, theme) as page:
                    for path in built_pages(arguments.site):
                        visit(page, path)
                        picture = arguments.folder / f"{path.stem}-{name}-{theme}.png"
                        page.screenshot(path=picture, full_page=True)
                        print(picture)


if __name__ == "__main__":
    main()
