"""What `make` starts for those who read and write: JupyterLab, as root too, and the site at a port."""

import os
import subprocess
import sys
import threading
from urllib.request import urlopen

import pytest

from tools import serve
from tools.notebooks import ROOT


def commands(folder, user, *arguments):
    """What `make` would run for a user of this number."""
    program = folder / "id"
    program.write_text(f"#!/bin/sh\necho {user}\n")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout


def test_jupyterlab_starts_as_root_too_and_takes_options(tmp_path):
    assert "jupyterlab --notebook-dir=book --allow-root" in commands(tmp_path, 0, "lab")
    assert "--allow-root" not in commands(tmp_path, 1000, "lab")
    for user in (0, 1000):
        [line] = [
            line
            for line in commands(tmp_path, user, "lab", "LAB_OPTIONS=--port=8889").splitlines()
            if "jupyterlab" in line
        ]
        assert "--port=8889" in line
        assert ("--allow-root" in line) == (user == 0)


@pytest.fixture
def site(tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("the book")
    monkeypatch.setattr(serve, "SITE", tmp_path)
    return tmp_path


def served_at(port, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["serve", str(port)])
    serve.main()


def test_the_site_is_served(site):
    with serve.server(0, site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urlopen(f"http://127.0.0.1:{server.server_port}/index.html") as answer:
            assert answer.read() == b"the book"
        server.shutdown()


def test_a_busy_port_is_one_line_with_one_that_is_free(site, monkeypatch):
    with serve.server(0, site) as busy:
        with pytest.raises(SystemExit) as stopped:
            served_at(busy.server_port, monkeypatch)
        said = str(stopped.value)
        assert f"Port {busy.server_port} cannot be had (Address already in use)" in said
        assert "\n" not in said
        serve.server(int(said.split("make serve PORT=")[1]), site).server_close()


def test_no_such_port_and_no_site_are_told(site, monkeypatch):
    with pytest.raises(SystemExit, match=r"Port 70000 cannot be had \(.*0-65535"):
        served_at(70000, monkeypatch)
    (site / "index.html").unlink()
    with pytest.raises(SystemExit, match="no site yet: make book, or make preview"):
        served_at(0, monkeypatch)


def test_make_asks_for_that(tmp_path):
    assert "-m tools.serve 8123\n" in commands(tmp_path, 1000, "serve", "PORT=8123")
