"""Build the site, strictly: ``python -m tools.build`` from committed outputs, with ``--execute`` from a fresh run."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.kernels import ChapterError, run_all
from tools.notebooks import ROOT, chapters, stage

JUPYTER_BOOK = (sys.executable, "-c", "from jupyter_book.cli.main import main; main()")
STRICT = ("-n", "-W", "--keep-going", "--quiet")


class SiteError(RuntimeError):
    """The strict build found something to complain about; the message holds its complaints."""


def build_site(source: Path, site: Path) -> None:
    """Build `source`, a folder with ``_config.yml`` and ``_toc.yml``, into `site`, which is replaced when all is well.

    Raises
    ------
    SiteError
        On any error or warning; `site` is left as it was.
    """
    partial = site.with_name(f"{site.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    command = [*JUPYTER_BOOK, "build", str(source), "--path-output", str(partial), *STRICT]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise SiteError(f"{result.stdout}\nThe strict build of {source} failed.")
    shutil.rmtree(site, ignore_errors=True)
    shutil.move(partial / "_build" / "html", site)
    shutil.rmtree(partial)


def main() -> None:
    """Stage, execute if asked to, build, and say where the site is."""
    parser = argparse.ArgumentParser(prog="python -m tools.build", description=__doc__)
    parser.add_argument("--execute", action="store_true", help="run the chapters first (copies of them)")
    execute = parser.parse_args().execute
    folder = ROOT / "_build"
    if not os.access(folder if folder.exists() else ROOT, os.W_OK):
        sys.exit(f"{folder} cannot be written to; expected a copy of the book in a folder that is yours")
    site, source = folder / "html", stage(folder / "source")
    try:
        if execute:
            import wavescore_lite as ws

            run_all(chapters(source), ws.resolve_dataset("auto"))
        start = time.perf_counter()
        print("Building the site ...", end="", flush=True)
        build_site(source, site)
    except (ChapterError, SiteError) as error:
        sys.exit(f"\n{error}\nNo site was made of this.")
    print(f" {time.perf_counter() - start:.1f} s\n\nOpen {site / 'index.html'}\nor type `make serve`.")


if __name__ == "__main__":
    main()
