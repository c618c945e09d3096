"""Show the built site in a browser: ``python -m tools.serve 8000``, on this machine alone."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools.notebooks import ROOT

HOST = "127.0.0.1"
SITE = ROOT / "_build" / "html"


def server(port: int, site: Path = SITE) -> ThreadingHTTPServer:
    """A server of the files in `site`, at a port that is free.

    Raises
    ------
    OSError, OverflowError
        If it cannot have that port.
    """
    return ThreadingHTTPServer((HOST, port), partial(SimpleHTTPRequestHandler, directory=str(site)))


def main() -> None:
    """Serve until Ctrl-C; what keeps it from that is said in one line."""
    parser = argparse.ArgumentParser(prog="python -m tools.serve", description=__doc__)
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    if not (SITE / "index.html").is_file():
        sys.exit("There is no site yet: make book, or make preview.")
    try:
        serving = server(port)
    except (OSError, OverflowError) as error:
        with server(0) as other:
            free = other.server_port
        reason = getattr(error, "strerror", error)
        sys.exit(f"Port {port} cannot be had ({reason}). Another one: make serve PORT={free}")
    print(f"Serving on http://localhost:{port}, until Ctrl-C", flush=True)
    with serving:
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
