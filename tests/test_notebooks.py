"""How chapters are found, executed, normalised and renewed."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from graphlib import CycleError
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat import v4

from tools import execute, kernels
from tools.execute import renew, without_mnist
from tools.inputs import inputs
from tools.kernels import ChapterError, at_once, longest_first, run_all
from tools.notebooks import ROOT, chapters, normalise, pages, read, stage, write

RECORDING = """import os
from wavescore_lite.study.records import Record
dataset = "strokes" if "WAVESCORE_OFFLINE" in os.environ else "mnist"
Record("chapter", dataset).check({"answer": 42 if dataset == "mnist" else 43})"""


@pytest.fixture
def book(tmp_path):
    """A book of one chapter, with a page after it."""
    root = tmp_path / "root"
    (root / "book").mkdir(parents=True)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/chapter\nparts:\n- caption: c\n  chapters:\n  - file: book/page\n"
    )
    (root / "book" / "page.md").write_text("# Page\n")
    write_chapter(root, *SOURCES)
    return root


SOURCES = (
    "import sys\nprint(6 * 7)\nprint('look here', file=sys.stderr)",
    "import pathlib\nprint(pathlib.Path.cwd().name)",
)


def write_chapter(root, *sources, name="chapter"):
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    nbformat.write(notebook, root / "book" / f"{name}.ipynb")
    return root / "book" / f"{name}.ipynb"


def digests(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_pages_are_those_of_the_table_of_contents_in_order(book):
    assert [path.name for path in pages(book)] == ["chapter.ipynb", "page.md"]
    assert [path.name for path in chapters(book)] == ["chapter.ipynb"]
    (book / "book" / "page.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"_toc\.yml names 'book/page'"):
        pages(book)


def test_execution_stores_outputs_and_what_made_them(book):
    path = book / "book" / "chapter.ipynb"
    execution = asyncio.run(kernels.execute(path, "strokes", os.environ))
    assert execution.standard_error == "look here\n"
    notebook = read(path)
    assert [cell.outputs[0].text for cell in notebook.cells] == ["42\n", "book\n"]
    made = notebook.metadata.wavescore
    assert made.dataset == "strokes"
    assert made.seconds == round(execution.seconds, 1)
    assert made.inputs == inputs(notebook, path)
    assert made.version


def test_making_the_book_leaves_the_committed_chapters_alone(book, tmp_path, capsys):
    before = digests(book)
    staged = stage(tmp_path / "staged", book)
    run_all(chapters(staged), "strokes")
    assert digests(book) == before
    assert digests(staged / "book")[staged / "book" / "chapter.ipynb"] not in before.values()
    captured = capsys.readouterr()
    assert captured.out.startswith("Running 1 chapter, 1 at a time\n[1/1] chapter on strokes ...")
    assert captured.err == "look here\n"


def test_an_error_names_chapter_cell_and_traceback(book, capsys):
    path = write_chapter(book, "x = 1", "raise RuntimeError('out of ink')", "print('never')")
    before = digests(book)
    with pytest.raises(ChapterError, match=r"(?s)Chapter chapter stopped in code cell 2 of 3.*out of ink"):
        run_all([path], "strokes")
    assert digests(book) == before
    assert capsys.readouterr().out.endswith(" failed\n")


def test_a_cell_that_takes_too_long_is_stopped(book, monkeypatch):
    path = write_chapter(book, "import time", "time.sleep(60)")
    monkeypatch.setattr(kernels, "CELL_TIMEOUT", 1)
    with pytest.raises(ChapterError, match="stopped in code cell 2 of 2"):
        run_all([path], "strokes")


def test_a_cell_that_is_not_plain_python_stops_the_chapter_before_it_runs(book):
    path = write_chapter(book, "1", "%time 1")
    with pytest.raises(ChapterError, match="Chapter chapter: code cell 2 is not plain Python"):
        run_all([path], "strokes")


PATIENCE = 300  # seconds for what takes three, should the machine be busy with its disk too
MEET = """import os, pathlib, time
mine, other = pathlib.Path("{0}.txt"), pathlib.Path("{1}.txt")
mine.write_text(str(os.getpid()))
end = time.monotonic() + 300
while not other.exists() and time.monotonic() < end: time.sleep(0.01)
assert other.exists()
print(os.environ.get("OMP_NUM_THREADS"))"""
BUSY = "import time\nwhile True: time.sleep(0.01)"


def test_chapters_run_at_the_same_time_with_one_thread_each(book, monkeypatch, capsys):
    monkeypatch.setattr(kernels, "cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    sources = [(*SOURCES, MEET.format(*names)) for names in (("a", "b"), ("b", "a"))]
    paths = [write_chapter(book, *sources[n], name="ab"[n]) for n in range(2)]
    run_all(paths, "strokes")
    assert [read(path).cells[2].outputs[0].text for path in paths] == ["1\n", "1\n"]
    captured = capsys.readouterr()
    begin, first, second = captured.out.splitlines()
    assert begin == "Running 2 chapters, 2 at a time"
    assert (first[:6], second[:6]) == ("[1/2] ", "[2/2] ")
    assert {first[6:18], second[6:18]} == {"a on strokes", "b on strokes"}
    assert captured.err == "look here\n"


def test_on_one_core_chapters_run_one_by_one_with_the_threads_that_are_set(book, monkeypatch):
    monkeypatch.setattr(kernels, "cores", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    source = 'import os, time\nos.mkdir("here")\ntime.sleep(1)\nprint(os.environ["OMP_NUM_THREADS"])\nos.rmdir("here")'
    paths = [write_chapter(book, source, name=name) for name in "ab"]
    run_all(paths, "strokes")
    assert [read(path).cells[0].outputs[0].text for path in paths] == ["7\n", "7\n"]


def is_running(file):
    """Whether the process lives whose number is in the file; one that was killed and not yet reaped does not."""
    try:
        return psutil.Process(int(file.read_text())).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_first_failure_stops_the_others_and_no_kernel_is_left(book, monkeypatch, capsys):
    monkeypatch.setattr(kernels, "cores", lambda: 2)
    paths = [
        write_chapter(book, MEET.format("a", "b"), BUSY, name="a"),
        write_chapter(book, MEET.format("b", "a"), "raise RuntimeError('out of ink')", name="b"),
        write_chapter(book, "open('c.txt', 'w')", name="c"),
    ]
    with pytest.raises(ChapterError, match=r"(?s)Chapter b stopped in code cell 2 of 2.*out of ink"):
        run_all(paths, "strokes")
    assert capsys.readouterr().out.splitlines()[1:] == ["[1/3] b on strokes ... failed"]
    assert not is_running(book / "book" / "a.txt")
    assert not is_running(book / "book" / "b.txt")
    assert not (book / "book" / "c.txt").exists()


def test_an_interrupt_leaves_no_kernel(book):
    names = ("ab", "ba")
    paths = [write_chapter(book, MEET.format(*pair), "print(1)", BUSY, name=pair[0]) for pair in names]
    code = (
        "import signal, sys; from pathlib import Path; from tools import kernels\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "kernels.cores = lambda: 2\n"
        "kernels.run_all(list(map(Path, sys.argv[1:])), 'strokes')"
    )
    files = [path.with_suffix(".txt") for path in paths]
    command = [sys.executable, "-c", code, *map(str, paths)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        end = time.monotonic() + PATIENCE
        while not all(file.exists() and file.read_text() for file in files) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert said.endswith("KeyboardInterrupt\n")
    assert not any(map(is_running, files))


def test_the_longest_chapter_comes_first(book):
    paths = [write_chapter(book, "1", name=name) for name in "abc"]
    for path, seconds in zip(paths, (3.0, None, 20.0), strict=True):
        notebook = read(path)
        if seconds:
            notebook.metadata["wavescore"] = {"seconds": seconds}
        nbformat.write(notebook, path)
    assert [path.stem for path in longest_first(paths)] == ["c", "a", "b"]


def test_jobs_wait_for_those_that_they_need():
    ended = []

    async def job(name):
        await asyncio.sleep(0.01)
        ended.append(name)

    jobs = {name: partial(job, name) for name in "abcd"}
    at_once(jobs, 2, {"a": "d", "b": "a", "c": ["elsewhere"]})
    assert ended.index("d") < ended.index("a") < ended.index("b")
    assert sorted(ended) == list("abcd")
    with pytest.raises(CycleError):
        at_once(jobs, 2, {"a": "d", "d": "a"})


def test_a_chapter_is_renewed_with_records_of_both_datasets(book, monkeypatch):
    monkeypatch.delenv("WAVESCORE_OFFLINE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    path = write_chapter(book, RECORDING, "assert os.environ['OMP_NUM_THREADS'] == '1'")
    stale = book / "book" / "records" / "chapter.json"
    stale.parent.mkdir()
    stale.write_text('{"mnist": {"gone": 1.0}}')
    renew([path], book)
    assert json.loads(stale.read_text()) == {"mnist": {"answer": 42.0}, "strokes": {"answer": 43.0}}
    notebook = read(path)
    assert notebook.metadata.wavescore.dataset == "mnist"
    assert notebook.cells[0].outputs[0].text == "1 number agrees with the record to 0.5 %\n"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["chapter.ipynb", "page.md", "records"]


def test_a_chapter_with_magic_commands_is_not_renewed(book):
    path = write_chapter(book, "%matplotlib inline")
    before = digests(book)
    with pytest.raises(ChapterError, match="expected no magic commands"):
        renew([path], book)
    assert digests(book) == before


def test_a_chapter_that_fails_on_strokes_is_not_renewed_at_all(book, monkeypatch):
    monkeypatch.delenv("WAVESCORE_OFFLINE", raising=False)
    path = write_chapter(book, RECORDING, "assert dataset == 'mnist', 'no strokes here'")
    before = digests(book)
    with pytest.raises(ChapterError, match="no strokes here"):
        renew([path], book)
    assert digests(book) == before


def test_a_chapter_that_reads_the_record_of_another_waits_for_it(book, monkeypatch):
    monkeypatch.delenv("WAVESCORE_OFFLINE", raising=False)
    monkeypatch.setattr(kernels, "cores", lambda: 2)
    first = write_chapter(book, RECORDING)
    source = "from wavescore_lite.study.records import Record\nprint(Record('chapter', 'mnist').recorded())"
    reader = write_chapter(book, source, name="a")
    (book / "book" / "records").mkdir()
    (book / "book" / "records" / "chapter.json").write_text('{"mnist": {"old": 1.0}}')
    renew([reader, first], book)
    assert read(reader).cells[0].outputs[0].text == "{'answer': 42.0}\n"
    assert "book/records/chapter.json" in read(reader).metadata.wavescore.inputs


def test_stale_chapters_are_told_and_renewed_until_none_is(monkeypatch, capsys):
    states = iter([{"a": "its code", "b": "moments"}, {"c": "its record"}, {}])
    monkeypatch.setattr(execute, "chapters", lambda: [Path(f"{name}.ipynb") for name in "abc"])
    monkeypatch.setattr(execute, "stale", lambda paths: next(states))
    monkeypatch.setattr(execute, "require_mnist", lambda: None)
    renewed = []
    monkeypatch.setattr(execute, "renew", renewed.append)
    monkeypatch.setattr("sys.argv", ["tools.execute"])
    execute.main()
    assert [[path.stem for path in paths] for paths in renewed] == [["a", "b"], ["c"]]
    assert capsys.readouterr().out == (
        "a  its code\nb  moments\n2 of 3 chapters are stale\nc  its record\n1 of 3 chapters are stale\n"
        "0 of 3 chapters are stale\n"
    )


@pytest.mark.parametrize(
    ("arguments", "renewed"), [(["b"], ["b"]), (["all"], ["a", "b", "c"]), (["--list"], None), (["--list", "b"], None)]
)
def test_what_is_renewed_can_be_said(monkeypatch, arguments, renewed):
    monkeypatch.setattr(execute, "chapters", lambda: [Path(f"{name}.ipynb") for name in "abc"])
    monkeypatch.setattr(execute, "stale", lambda paths: {"a": "its code"})
    monkeypatch.setattr(execute, "require_mnist", lambda: None)
    runs = []
    monkeypatch.setattr(execute, "renew", runs.append)
    monkeypatch.setattr("sys.argv", ["tools.execute", *arguments])
    execute.main()
    assert [[path.stem for path in paths] for paths in runs] == ([] if renewed is None else [renewed])


def test_committed_chapters_are_not_renewed_without_mnist(monkeypatch):
    import wavescore_lite

    monkeypatch.setattr(wavescore_lite, "resolve_dataset", lambda name: "strokes")
    monkeypatch.setattr("sys.argv", ["tools.execute", "all"])
    before = digests(ROOT / "book")
    with pytest.raises(SystemExit, match=r"made on MNIST, and the dataset found is 'strokes'.*WAVESCORE_DATA"):
        execute.main()
    assert digests(ROOT / "book") == before


def test_an_unknown_chapter_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tools.execute", "nowhere"])
    with pytest.raises(SystemExit):
        execute.main()
    assert "no such chapter: nowhere" in capsys.readouterr().err


def test_no_mnist_is_found_in_the_environment_without_it(monkeypatch):
    monkeypatch.setenv("WAVESCORE_DATA", "somewhere")
    environment = without_mnist()
    assert "WAVESCORE_DATA" not in environment
    assert environment["WAVESCORE_OFFLINE"] == "1"
    assert environment["XDG_CACHE_HOME"] != os.environ.get("XDG_CACHE_HOME")


def test_normal_form_holds_nothing_of_the_machine():
    notebook = v4.new_notebook(cells=[v4.new_code_cell("1"), v4.new_markdown_cell("# T")])
    notebook.metadata = nbformat.from_dict(
        {"widgets": {"state": 1}, "language_info": {"name": "python", "version": "3.13.1"}, "vscode": 1}
    )
    code = notebook.cells[0]
    code.metadata = nbformat.from_dict({"execution": {"t": "now"}, "collapsed": True, "tags": ["remove-input"]})
    code.outputs = [
        v4.new_output("stream", name="stderr", text="/home/reader: warning"),
        v4.new_output("stream", name="stdout", text="1"),
    ]
    normalise(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    assert code.metadata == {"tags": ["remove-input"]}
    assert [output.name for output in code.outputs] == ["stdout"]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_committed_chapter_is_in_normal_form(path, tmp_path):
    write(read(path), tmp_path / path.name)
    assert (tmp_path / path.name).read_text() == path.read_text()
