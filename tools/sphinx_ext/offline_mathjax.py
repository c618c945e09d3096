"""Sphinx extension: equations by a MathJax that travels with the site, so that no page asks the network.

The files come from the package ``sphinx-mathjax-offline``, which carries MathJax 3.2.2. Their digest is pinned. Only
the components that typeset are served: the contextual menu brings a speech engine that looks to a public server.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PACKAGE = "sphinx-mathjax-offline"
INSIDE_PACKAGE = "sphinx-mathjax-offline/static/mathjax"
SERVED = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions/*.js",
    "output/chtml.js",
    "output/chtml/fonts/*.js",
    "output/chtml/fonts/**/*.woff",
    "a11y/assistive-mml.js",
)
COMPONENTS = ["input/tex", "output/chtml", "a11y/assistive-mml"]
SHA256 = "63da3c5460903dfb085af4770ce8a824c8a568ac6cc553d3a87e1dcf7911f3d7"


def mathjax_folder() -> Path:
    """Where the package lies; it is looked up by its metadata, for its name cannot be imported."""
    try:
        return Path(str(distribution(PACKAGE).locate_file(INSIDE_PACKAGE)))
    except PackageNotFoundError:
        raise ExtensionError(
            f"The package {PACKAGE} is missing, and without it no equation is typeset offline. "
            "Install the pinned environment: python -m pip install -r requirements.txt"
        ) from None


def served_files(folder: Path) -> list[Path]:
    """The files that a page may load, in a fixed order."""
    return sorted({path for pattern in SERVED for path in folder.glob(pattern) if path.is_file()})


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the served files."""
    total = hashlib.sha256()
    for path in served_files(folder):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def verified_folder() -> Path:
    """The folder of MathJax, once its files are known to be the pinned ones."""
    folder = mathjax_folder()
    found = digest(folder)
    if found != SHA256:
        raise ExtensionError(
            f"MathJax in {folder} has SHA-256 {found}, expected {SHA256}. "
            f"Reinstall it: python -m pip install --force-reinstall --no-deps {PACKAGE}==0.0.2"
        )
    return folder


def _copy(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    folder = verified_folder()
    for path in served_files(folder):
        target = Path(app.outdir) / "mathjax" / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.config.mathjax_path = "../mathjax/startup.js"
    app.config.mathjax3_config = {"loader": {"load": COMPONENTS}}
    app.connect("builder-inited", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
