"""The site, built strictly from the committed outputs: complete, whole in itself, and legible without a network."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tools import build, links
from tools.build import SiteError, build_site
from tools.notebooks import ROOT, code_cells, pages, read, stage
from tools.screenshots import THEMES, WIDTHS, built_pages, find_browser, launch, offline_page, visit

sys.path.insert(0, str(ROOT / "tools" / "sphinx_ext"))
import offline_mathjax

PAGES = [page.relative_to(ROOT).with_suffix("").as_posix() for page in pages()]
CHAPTERS = [page.relative_to(ROOT).with_suffix("").as_posix() for page in pages() if page.suffix == ".ipynb"]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """It takes half a minute on a busy core: every page is built, strictly, as `make book` builds them."""
    folder = tmp_path_factory.mktemp("site")
    build_site(stage(folder / "source"), folder / "html")
    return folder / "html"


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_first_page_is_where_the_index_leads(site):
    assert f"url={PAGES[0]}.html" in (site / "index.html").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_page_exists_with_one_title_and_text(site, name):
    article = soup(site / f"{name}.html").find("article")
    assert len(article.find_all("h1")) == 1
    assert len(article.get_text()) > 200


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_shows_every_cell_and_its_output(site, name):
    article = soup(site / f"{name}.html").find("article")
    cells = code_cells(read(ROOT / f"{name}.ipynb"))
    hidden = [cell for cell in cells if "remove-cell" in cell.metadata.get("tags", [])]
    assert len(article.select("div.cell div.cell_input")) == len(cells) - len(hidden)
    shown = article.get_text()
    for cell in cells:
        if "nbval-check-output" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if output.output_type == "stream":
                    assert output.text.strip() in shown
    pictures = sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert len(article.select("div.cell img")) == pictures


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_can_be_downloaded_as_a_notebook(site, name):
    [link] = soup(site / f"{name}.html").select("a.btn-download-source-button")
    downloaded = (site / name).parent.joinpath(link["href"]).resolve()
    assert downloaded.read_bytes() == (ROOT / f"{name}.ipynb").read_bytes()


def test_every_picture_says_what_it_shows(site):
    silent = [
        f"{path.name}: {image['src']}"
        for path in built_pages(site)
        for image in soup(path).select("article img")
        if not image.get("alt") or image["alt"].startswith(("../_images", "_images"))
    ]
    assert silent == []


def test_execution_page_lists_every_chapter(site):
    rows = soup(site / "book" / "execution.html").select("article table tbody tr")
    linked = [row.find("a")["href"].removesuffix(".html") for row in rows]
    assert linked == [Path(name).name for name in CHAPTERS]
    for row in rows:
        seconds, dataset, version = (cell.get_text().strip() for cell in row.find_all("td")[1:])
        assert float(seconds) > 0
        assert dataset == "mnist"
        assert version


def test_nothing_is_fetched_from_elsewhere(site):
    assert links.fetched_from_elsewhere(site) == []


def test_no_link_leads_nowhere(site):
    assert links.leading_nowhere(site) == []


@pytest.mark.parametrize(
    "html",
    [
        '<img src="https://a.org/x.png">',
        '<img src="x.png" srcset="x.png 1x, //a.org/y.png 2x">',
        '<script src="//a.org/x.js"></script>',
        '<script>fetch("https://a.org/x")</script>',
        '<script>const x = await import("https://a.org/x.js")</script>',
        '<script>tag.src = "https://a.org/x.js"</script>',
        '<script>request.open("GET", "https://a.org/x")</script>',
        '<link rel="stylesheet" href="https://a.org/x.css">',
        '<link rel="preconnect" href="https://a.org">',
        '<link rel="icon" href="https://a.org/x.ico">',
        '<iframe src="http://a.org"></iframe>',
        '<object data="https://a.org/x.svg"></object>',
        '<video><source src="https://a.org/x.mp4"></video>',
        '<svg><use xlink:href="https://a.org/x.svg#a"></use></svg>',
        '<p style="background: url(https://a.org/x.png)">',
        '<style>@import "https://a.org/x.css";</style>',
        '<meta http-equiv="refresh" content="0; url=https://a.org">',
    ],
)
def test_a_fetch_from_elsewhere_is_found(html):
    assert links.in_page(html)


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://a.org">elsewhere</a>',
        '<link rel="license" href="https://a.org/licence">',
        '<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        '<script>// see https://a.org\nfetch("x.json")</script>',
        '<img src="x.png"><script src="../_static/x.js"></script>',
    ],
)
def test_a_mere_mention_is_no_fetch(html):
    assert links.in_page(html) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="../x">4</a>'
        '<img src="x.png"><a href="#top">5</a><a href="https://a.org">6</a><p id="top">'
    )
    (tmp_path / "b.html").write_text('<p id="there">')
    assert links.leading_nowhere(tmp_path) == [
        "a.html: <a> b.html#gone",
        "a.html: <a> c.html",
        "a.html: <a> ../x",
        "a.html: <img> x.png",
    ]


def test_a_warning_fails_the_build_and_leaves_the_site_as_it_was(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "_config.yml").write_text("title: t\nonly_build_toc_files: true\n")
    (source / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (source / "page.md").write_text("# Page\n\nSee [this](nowhere.md).\n")
    site = tmp_path / "html"
    site.mkdir()
    (site / "index.html").write_text("as it was")
    with pytest.raises(SiteError, match=r"nowhere\.md"):
        build_site(source, site)
    assert (site / "index.html").read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["html", "source"]


def test_served_mathjax_is_the_pinned_one(site):
    assert offline_mathjax.digest(site / "mathjax") == offline_mathjax.SHA256


def test_changed_and_missing_mathjax_are_refused(tmp_path, monkeypatch):
    changed = tmp_path / "mathjax"
    shutil.copytree(offline_mathjax.mathjax_folder(), changed)
    with (changed / "startup.js").open("a") as script:
        script.write("//")
    monkeypatch.setattr(offline_mathjax, "mathjax_folder", lambda: changed)
    with pytest.raises(offline_mathjax.ExtensionError, match="expected 63da3c54"):
        offline_mathjax.verified_folder()
    monkeypatch.undo()
    monkeypatch.setattr(offline_mathjax, "PACKAGE", "no-such-package")
    with pytest.raises(offline_mathjax.ExtensionError, match="no-such-package is missing"):
        offline_mathjax.verified_folder()


@pytest.fixture(scope="session")
def browser():
    executable = find_browser()
    if executable is None:
        if os.environ.get("WAVESCORE_REQUIRE_BROWSER") == "1":
            pytest.fail("WAVESCORE_REQUIRE_BROWSER=1, but no Chromium was found")
        pytest.skip("no Chromium: install Debian's package `chromium`, or name one with WAVESCORE_CHROMIUM")
    with launch(executable) as browser:
        yield browser


NOT_UNDERSTOOD = 'mjx-merror, [data-mjx-error], mjx-assistive-mml [mathcolor="red"]'
LEFT_RAW = r"""() => {
    const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
    const raw = [];
    while (walker.nextNode()) {
        const hidden = walker.currentNode.parentElement.closest("pre, code, script, mjx-container");
        if (!hidden && /\\[(\[]|\\begin\{|\$\$/.test(walker.currentNode.data)) raw.push(walker.currentNode.data);
    }
    return raw;
}"""
OVERFLOWING = """() => {
    const excess = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (excess <= 0) return [];
    return [...document.querySelectorAll("article *")]
        .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .slice(0, 5).map(element => element.outerHTML.slice(0, 120)).concat([`${excess} pixels too wide`]);
}"""

TOO_FAINT = """() => {
    const parse = color => color.match(/[\\d.]+/g).map(Number);
    const luminance = rgb => {
        const [r, g, b] = rgb.slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const color = parse(getComputedStyle(e).backgroundColor);
            if (color.length === 3 || color[3] > 0.5) return color;
        }
        return [255, 255, 255];
    };
    const written = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const contrast = element => {
        const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const text = "article :is(p, li, td, th, h1, h2, h3, dt, dd, figcaption, a, code, span, pre)";
    return [...document.querySelectorAll(text)]
        .filter(element => !element.closest("mjx-container, .headerlink, .highlight") && written(element))
        .filter(element => element.offsetParent && contrast(element) < 4.5)
        .map(element => `${contrast(element).toFixed(1)}: ${element.outerHTML.slice(0, 120)}`);
}"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("device", WIDTHS)
def test_pages_read_well_without_a_network(site, browser, device, theme):
    troubles = []
    with offline_page(browser, WIDTHS[device], theme) as page:
        page.on("console", lambda message: message.type == "error" and troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or troubles.append(request.url),
        )
        for path in built_pages(site):
            visit(page, path)
            formulas = soup(path).select("article .math")
            assert page.locator("article mjx-container").count() >= len(formulas), path.name
            assert page.locator(NOT_UNDERSTOOD).count() == 0, path.name
            assert page.evaluate(LEFT_RAW) == [], path.name
            assert page.evaluate(OVERFLOWING) == [], path.name
            assert page.evaluate(TOO_FAINT) == [], path.name
            assert page.get_attribute("html", "data-theme") == theme
    assert troubles == []


def test_search_works_without_a_network(site, browser):
    with offline_page(browser, WIDTHS["desktop"], "light") as page:
        page.goto((site / "search.html").as_uri() + "?q=score")
        page.locator("#search-results ul.search li a").first.wait_for(timeout=60_000)


def test_the_theme_can_be_switched(site, browser):
    with offline_page(browser, WIDTHS["desktop"], "light") as page:
        visit(page, built_pages(site)[0])
        seen = {page.get_attribute("html", "data-theme")}
        for _ in range(3):
            page.locator("button.theme-switch-button:visible").first.click()
            seen.add(page.get_attribute("html", "data-theme"))
    assert seen == {"light", "dark"}


def test_a_copy_that_cannot_be_written_to_is_named(monkeypatch):
    """Such as one on a disk that is mounted to be read."""
    monkeypatch.setattr(sys, "argv", ["build"])
    monkeypatch.setattr(build.os, "access", lambda folder, mode: False)
    monkeypatch.setattr(build, "stage", lambda target: pytest.fail("began all the same"))
    with pytest.raises(SystemExit, match=r"_build cannot be written to; expected a copy of the book in a folder"):
        build.main()
