"""How chapters are found, executed, normalised and renewed."""

import hashlib
import json
import os

import nbformat
import pytest
from nbformat import v4

from tools import execute
from tools.execute import ChapterError, renew, run, run_all, stage, without_mnist
from tools.notebooks import ROOT, chapters, normalise, pages, read, source_sha256, write

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
    write_chapter(
        root,
        "import sys\nprint(6 * 7)\nprint('look here', file=sys.stderr)",
        "import pathlib\nprint(pathlib.Path.cwd().name)",
    )
    return root


def write_chapter(root, *sources):
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    nbformat.write(notebook, root / "book" / "chapter.ipynb")
    return root / "book" / "chapter.ipynb"


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
    execution = run(path, "strokes")
    assert execution.standard_error == "look here\n"
    notebook = read(path)
    assert [cell.outputs[0].text for cell in notebook.cells] == ["42\n", "book\n"]
    made = notebook.metadata.wavescore
    assert made.dataset == "strokes"
    assert made.seconds == round(execution.seconds, 1)
    assert made.source_sha256 == source_sha256(notebook)
    assert made.version


def test_making_the_book_leaves_the_committed_chapters_alone(book, tmp_path, capsys):
    before = digests(book)
    staged = stage(tmp_path / "staged", book)
    run_all(chapters(staged), "strokes")
    assert digests(book) == before
    assert digests(staged / "book")[staged / "book" / "chapter.ipynb"] not in before.values()
    captured = capsys.readouterr()
    assert captured.out.startswith("[1/1] chapter on strokes ...")
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
    monkeypatch.setattr(execute, "CELL_TIMEOUT", 1)
    with pytest.raises(ChapterError, match="stopped in code cell 2 of 2"):
        run(path, "strokes")


def test_a_chapter_is_renewed_with_records_of_both_datasets(book, monkeypatch):
    monkeypatch.delenv("WAVESCORE_OFFLINE", raising=False)
    path = write_chapter(book, RECORDING)
    stale = book / "book" / "records" / "chapter.json"
    stale.parent.mkdir()
    stale.write_text('{"mnist": {"gone": 1.0}}')
    renew(path, book)
    assert json.loads(stale.read_text()) == {"mnist": {"answer": 42.0}, "strokes": {"answer": 43.0}}
    notebook = read(path)
    assert notebook.metadata.wavescore.dataset == "mnist"
    assert notebook.cells[0].outputs[0].text == "1 number agrees with the record to 0.5 %\n"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["chapter.ipynb", "page.md", "records"]


def test_a_chapter_that_fails_on_strokes_is_not_renewed_at_all(book, monkeypatch):
    monkeypatch.delenv("WAVESCORE_OFFLINE", raising=False)
    path = write_chapter(book, RECORDING, "assert dataset == 'mnist', 'no strokes here'")
    before = digests(book)
    with pytest.raises(ChapterError, match="no strokes here"):
        renew(path, book)
    assert digests(book) == before


def test_committed_chapters_are_not_renewed_without_mnist(monkeypatch):
    import wavescore_lite

    monkeypatch.setattr(wavescore_lite, "resolve_dataset", lambda name: "strokes")
    monkeypatch.setattr("sys.argv", ["tools.execute"])
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
