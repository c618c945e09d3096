"""What the built pages refer to: what a browser would fetch from elsewhere, and links that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

FETCHED_ATTRIBUTES = {
    "audio": ("src",),
    "embed": ("src",),
    "feimage": ("href", "xlink:href"),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href", "imagesrcset"),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
LINKS_NOT_FETCHED = {
    "alternate",
    "author",
    "canonical",
    "help",
    "index",
    "license",
    "next",
    "prev",
    "search",
}
REMOTE = r"(?:https?:|wss?:)?//[\w\[]"
REMOTE_ADDRESS = re.compile(rf"\s*{REMOTE}", re.IGNORECASE)
REMOTE_IN_STYLE = re.compile(rf"""(?:url\(\s*["']?|@import\s+(?:url\(\s*)?["']?)({REMOTE}[^"')\s]*)""", re.IGNORECASE)
REMOTE_IN_SCRIPT = re.compile(
    rf"""(?:\b(?:fetch|import|importScripts|Worker|EventSource|WebSocket|open|load|sendBeacon)
          \s*\(\s*(?:["'`]\w+["'`]\s*,\s*)?
        | \bfrom\s*
        | \.(?:src|href)\s*=\s*
        | \b(?:src|URL|Url|url)\s*[:=]\s*
        )["'`]({REMOTE}[^"'`\s]*)""",
    re.VERBOSE,
)


def fetched_from_elsewhere(site: Path) -> list[str]:
    """Every address in a page, style or script under `site` that a browser would fetch from the network."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix == ".html":
            addresses = [] if _is_template(path, site) else _in_page(_soup(path))
        elif path.suffix == ".css":
            addresses = in_style(path.read_text(encoding="utf-8"))
        elif path.suffix in (".js", ".mjs"):
            addresses = in_script(path.read_text(encoding="utf-8"))
        else:
            continue
        found += [f"{path.relative_to(site)}: {address}" for address in addresses]
    return found


def in_page(html: str) -> list[str]:
    """The remote addresses that a browser fetches when it shows this page."""
    return list(_in_page(BeautifulSoup(html, "html.parser")))


def in_style(text: str) -> list[str]:
    """The remote addresses that a browser fetches for this style sheet."""
    return [match.group(1) for match in REMOTE_IN_STYLE.finditer(text)]


def in_script(text: str) -> list[str]:
    """The remote addresses that this script loads, as far as they are written where they are used."""
    return [match.group(1) for match in REMOTE_IN_SCRIPT.finditer(text)]


def _in_page(soup: BeautifulSoup) -> Iterator[str]:
    for tag in soup.find_all(True):
        for address in _addresses(tag):
            if REMOTE_ADDRESS.match(address):
                yield address.strip()
        yield from in_style(_text(tag, "style"))
        if tag.name == "style":
            yield from in_style(tag.get_text())
        elif tag.name == "script" and not tag.get("src"):
            yield from in_script(tag.get_text())
        elif tag.name == "meta" and _text(tag, "http-equiv").lower() == "refresh":
            yield from re.findall(rf"url=\s*({REMOTE}\S*)", _text(tag, "content"), re.IGNORECASE)


def _addresses(tag: Tag) -> Iterator[str]:
    if tag.name == "link" and set(tag.get_attribute_list("rel")) <= LINKS_NOT_FETCHED:
        return
    for attribute in FETCHED_ATTRIBUTES.get(tag.name, ()):
        value = _text(tag, attribute)
        if attribute.endswith("srcset"):
            yield from (candidate.split()[0] for candidate in value.split(",") if candidate.strip())
        elif value:
            yield value


def _text(tag: Tag, attribute: str) -> str:
    """What an attribute says, nothing if it is not there."""
    value = tag.get(attribute)
    return value if isinstance(value, str) else ""


def leading_nowhere(site: Path) -> list[str]:
    """Every link, picture, style or script of a page whose file or anchor is not there."""
    broken = []
    for path in sorted(site.rglob("*.html")):
        if _is_template(path, site):
            continue
        for tag in _soup(path).find_all(True):
            for attribute in ("href", "src", "data"):
                address = tag.get(attribute)
                if isinstance(address, str) and not _resolves(site, path, address):
                    broken.append(f"{path.relative_to(site)}: <{tag.name}> {address}")
    return broken


def _is_template(path: Path, site: Path) -> bool:
    """The theme copies some of its templates to the static files; they are no pages."""
    return path.relative_to(site).parts[0] == "_static"


def _resolves(site: Path, page: Path, address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
    if site.resolve() not in target.parents or not target.is_file():
        return False
    if parts.fragment and target.suffix == ".html":
        return unquote(parts.fragment) in _anchors(target)
    return True


@cache
def _soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def _anchors(path: Path) -> frozenset[str]:
    named = _soup(path).find_all(lambda tag: tag.get("id") or tag.get("name"))
    return frozenset(_text(tag, attribute) for tag in named for attribute in ("id", "name"))
