"""What a submission may use: time, memory, processes and folders have limits, and nothing of it is left."""

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.problem_sets import graded, small_master
from tools.notebooks import ROOT
from wavescore_lite.course import limits, sandbox
from wavescore_lite.course.limits import Limits, bubblewrap


def running(mark):
    """Command lines of this machine's processes that have `mark` among their arguments."""
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if mark in line]


def assert_none_is_left(mark):
    """Within five minutes, for what is killed ends when the system has taken back its memory."""
    deadline = time.monotonic() + 300
    while left := running(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_a_loop_costs_its_own_points_alone(tmp_path):
    result = graded(tmp_path, "while True:\n    pass", limits=Limits(cell_seconds=2))
    assert result.points == {"p1-a-test": 0, "p2-b-test": 2}
    assert result.remarks == ["more than 2 s in p1-a"]
    assert result.messages["p1-a-test"].startswith("NameError")


def test_a_loop_that_cannot_be_interrupted_is_stopped(tmp_path):
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n        pass"
    )
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    started = time.monotonic()
    result = graded(tmp_path, second=stubborn, limits=Limits(seconds=25, cell_seconds=4))
    assert time.monotonic() - started < 120
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert "stopped after 25 s" in result.remarks
    assert result.messages["p2-b-test"] in ("it was not reached", "it took too long")
    assert not {child.pid for child in psutil.Process().children(recursive=True)} - before


def test_memory_is_limited(tmp_path):
    result = graded(tmp_path, "import numpy\na = numpy.ones(10**9)", limits=Limits(memory=1))
    assert result.points == {"p1-a-test": 0, "p2-b-test": 2}
    assert sum(1 for message in result.messages.values() if "NameError" in message) == 1


def test_processes_count_together(tmp_path):
    mark = str(tmp_path)
    hungry = (
        "import subprocess, sys, time\n"
        "hold = 'import time; x = bytes([1]) * 3 * 10**8; time.sleep(300)'\n"
        "for _ in range(4):\n"
        f"    subprocess.Popen([sys.executable, '-c', hold, {mark!r}])\n"
        "time.sleep(100)"
    )
    result = graded(tmp_path, second=hungry, limits=Limits(memory=0.9))
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert result.remarks == ["p2-b has subprocess: read it", "stopped at 0.9 GiB of memory"]
    assert_none_is_left(mark)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are kept on Linux alone")
def test_orphans_are_ended(tmp_path):
    mark = str(tmp_path)
    orphan = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        f"        os.execlp(sys.executable, sys.executable, '-c', 'import time; time.sleep(300)', {mark!r})\n"
        "    os._exit(0)\n"
        "time.sleep(2)\nb = 1"
    )
    result = graded(tmp_path, second=orphan)
    assert result.total == 4
    assert_none_is_left(mark)


@pytest.mark.skipif(sys.platform != "linux", reason="the end of a parent is told on Linux alone")
def test_nothing_outlives_a_grader_that_was_killed(tmp_path):
    mark = str(tmp_path / "mark")
    started = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)', {mark!r}])\ntime.sleep(300)"
    )
    program = (
        f"from tests.problem_sets import graded; from pathlib import Path; graded(Path({str(tmp_path)!r}), {started!r})"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    grader = subprocess.Popen([sys.executable, "-c", program], env=environment)
    deadline = time.monotonic() + 300
    while not running(mark):
        assert time.monotonic() < deadline
        assert grader.poll() is None
        time.sleep(0.1)
    grader.kill()
    grader.wait()
    assert_none_is_left(mark)
    while list(tmp_path.glob("grading-*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_kernel_that_ends_itself_earns_nothing_more(tmp_path):
    result = graded(tmp_path, second="import os\nos._exit(0)")
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert result.remarks == ["its process ended early"]


def test_a_run_that_is_to_stop_does(tmp_path):
    """And its processes end: the cells would take an hour."""
    notebook, stop = small_master(), threading.Event()
    notebook.cells[0].source = "import time\ntime.sleep(3600)"
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    timer = threading.Timer(3, stop.set)
    timer.start()
    _, ending = sandbox.run(notebook, Limits(), stop)
    timer.join()
    assert ending == "stopped"
    assert not {child.pid for child in psutil.Process().children(recursive=True)} - before


def test_a_flood_of_output_costs_nothing(tmp_path):
    result = graded(tmp_path, "print('x' * 10**7)\na = 1")
    assert result.points == {"p1-a-test": 2, "p2-b-test": 2}
    assert result.remarks == []


def test_folders_without_end_do_not_stop_the_grader(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = graded(tmp_path, second="import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\nb = 1")
    assert result.total == 4
    subprocess.run(["rm", "-rf", *map(str, tmp_path.glob("grading-*"))], check=True)


def test_of_the_environment_the_package_alone_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PASSWORD", "secret")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    found = (
        "import os\na = 1 if 'MY_PASSWORD' not in os.environ else 0\n"
        "b = os.environ['PYTHONPATH'] == os.path.join(os.getcwd(), 'package')"
    )
    assert graded(tmp_path, found, "").total == 4


def test_a_submission_can_be_run_within_a_command_of_ones_own(tmp_path):
    limits = Limits(inside="env INSIDE={folder}")
    result = graded(tmp_path, "import os\na = 1 if os.environ['INSIDE'] == os.getcwd() else 0", limits=limits)
    assert result.total == 4


def test_in_a_sandbox_there_is_the_installed_package_and_nothing_else_of_ours(tmp_path):
    """No masters, no network, no processes, and nothing to write to; and cells are interrupted there too."""
    if (
        not shutil.which("bwrap")
        or subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]).returncode
    ):
        pytest.skip("bubblewrap cannot make a sandbox here")
    attempt = f"""
import os, socket
from pathlib import Path
import wavescore_lite
a, b = 0, 0
seen = [place for place in {[str(ROOT / "assignments"), str(ROOT / "book"), str(tmp_path)]!r} if Path(place).exists()]
pids = [name for name in os.listdir("/proc") if name.isdigit()]
try:
    open(os.path.join(os.path.dirname(os.__file__), "spoilt"), "w")
except OSError:
    a = 1 if not seen and len(pids) < 5 else 0
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError as error:
    b = error.errno == 101
"""
    inside = Limits(inside=bubblewrap(), cell_seconds=20)
    result = graded(tmp_path, attempt, "while True:\n    pass", limits=inside)
    assert result.total == 4, result.messages
    assert "more than 20 s in p2-b" in result.remarks


def test_without_bubblewrap_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setattr(limits.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="there is no bwrap here; expected bubblewrap, for Linux: apt-get install"):
        bubblewrap()


def test_a_sandbox_shows_programs_and_one_folder_alone(monkeypatch):
    monkeypatch.setattr(limits.shutil, "which", lambda name: name)
    words = shlex.split(bubblewrap())
    shown = [Path(words[place + 1]) for place, word in enumerate(words) if word == "--ro-bind"]
    assert Path(sys.prefix, "lib") in shown
    assert not any(place in (ROOT, *ROOT.parents) for place in shown)
    assert [words[place + 1] for place, word in enumerate(words) if word == "--bind"] == ["{folder}"]
    assert {"--unshare-all", "--die-with-parent", "--new-session"} <= set(words)
