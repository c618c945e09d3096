"""What a submission may use: time, memory, processes and folders have limits, and nothing of it is left."""

import re
import shutil
import subprocess
import sys
import time

import psutil
import pytest

from tests.problem_sets import INSTRUCTORS, graded
from tools.notebooks import ROOT
from wavescore_lite.course import sandbox
from wavescore_lite.course.sandbox import Limits

[SANDBOX] = re.findall(r"--inside \"(bwrap [^\"]*)\"", INSTRUCTORS.replace("\\\n", ""))


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
    result = graded(tmp_path, second=stubborn, limits=Limits(seconds=15, cell_seconds=4))
    assert time.monotonic() - started < 60
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert "stopped after 15 s" in result.remarks
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
    assert result.remarks == ["stopped at 0.9 GiB of memory"]
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


def test_a_kernel_that_ends_itself_earns_nothing_more(tmp_path):
    result = graded(tmp_path, second="import os\nos._exit(0)")
    assert result.points == {"p1-a-test": 2, "p2-b-test": 0}
    assert result.remarks == ["its process ended early"]


@pytest.mark.parametrize(
    "damage",
    [
        "open(OUT, 'w').write('no notebook')",
        "os.remove(OUT); os.symlink('/dev/zero', OUT)",
        "os.remove(OUT); os.mkdir(OUT)",
    ],
)
def test_damage_to_its_own_results_is_named(tmp_path, damage):
    # The kernel ends, so that the results are not written once more.
    result = graded(tmp_path, second=f"import os\nOUT = '{sandbox.OUT}'\n{damage}\nos._exit(0)")
    assert result.total == 0
    assert result.remarks[0].startswith("it damaged its results: ")


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
    found = f"import os\na = 1 if 'MY_PASSWORD' not in os.environ else 0\nb = os.environ['PYTHONPATH'] == {str(ROOT)!r}"
    assert graded(tmp_path, found, "").total == 4


def test_a_submission_can_be_run_within_a_command_of_ones_own(tmp_path):
    limits = Limits(inside="env INSIDE={folder}")
    result = graded(tmp_path, "import os\na = 1 if os.environ['INSIDE'] == os.getcwd() else 0", limits=limits)
    assert result.total == 4


def test_in_a_sandbox_there_is_no_network_and_nothing_else_to_write_to(tmp_path):
    if (
        not shutil.which("bwrap")
        or subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"]).returncode
    ):
        pytest.skip("bubblewrap cannot make a sandbox here")
    attempt = (
        "import socket\na, b = 0, 0\n"
        f"try:\n    open({str(tmp_path / 'spoilt')!r}, 'w')\nexcept OSError:\n    a = 1\n"
        "try:\n    socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError as error:\n    b = error.errno == 101"
    )
    result = graded(tmp_path, attempt, "", limits=Limits(inside=SANDBOX))
    assert result.total == 4, result.messages
    assert not (tmp_path / "spoilt").exists()
