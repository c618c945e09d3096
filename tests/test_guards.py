import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from tabulate import tabulate

from tools import guards
from tools.imports import Package
from tools.inputs import FILES, inputs, records_read, why_stale
from tools.notebooks import ROOT, chapters, pages, read


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_chapter_is_sound(path):
    assert guards.complaints(path) == []


def sound_notebook():
    """Four executed cells, three of them checked, the last with a captioned picture and a record."""
    sources = ["print(1)", "print(2)", "Record('chapter', dataset).check(numbers)", "plt.show()"]
    cells = [v4.new_markdown_cell("# Title")]
    for count, source in enumerate(sources, start=1):
        text = v4.new_output("stream", name="stdout", text=f"{count}\n")
        cell = v4.new_code_cell(source, execution_count=count, outputs=[text])
        cell.metadata.tags = ["nbval-check-output"]
        cells.append(cell)
    cells[-1].metadata.tags = []
    cells[-1].outputs = [v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="})]
    cells[-1].metadata.mystnb = {"figure": {"caption": "A line."}, "image": {"alt": "a line"}}
    notebook = v4.new_notebook(cells=cells)
    return made(notebook)


def made(notebook, path=Path("book/chapter.ipynb")):
    """The notebook, as if it had been executed now."""
    notebook.metadata.wavescore = {"dataset": "mnist", "inputs": inputs(notebook, path)}
    return notebook


SOUND_RECORD = {"mnist": {"mse": 0.1}, "strokes": {"mse": 0.2}}


def complaints(tmp_path, notebook, record=SOUND_RECORD):
    path = tmp_path / "chapter.ipynb"
    nbformat.write(notebook, path)
    (tmp_path / "records").mkdir()
    if record is not None:
        (tmp_path / "records" / "chapter.json").write_text(json.dumps(record))
    return guards.complaints(path)


def test_sound_notebook_passes(tmp_path):
    assert complaints(tmp_path, sound_notebook()) == []


def never_executed(cells):
    cells[2].execution_count = None
    cells[2].outputs = []
    for count, cell in enumerate(cells[3:], start=2):
        cell.execution_count = count


def executed_twice(cells):
    cells[4].execution_count = 5


def error_output(cells):
    cells[4].outputs.append(v4.new_output("error", ename="ValueError", evalue="no", traceback=[]))


def too_few_checked(cells):
    cells[1].metadata.tags = []


def checked_without_output(cells):
    cells[1].outputs = []


def checked_number(cells):
    cells[1].outputs.append(glued("0.1"))


def code_changed(cells):
    cells[1].source = "print(3)"


def no_caption(cells):
    cells[4].metadata.mystnb.figure.caption = ""


def no_alternative_text(cells):
    del cells[4].metadata.mystnb["image"]


def machine_path(cells):
    cells[1].outputs[0].text = "read /home/reader/MNIST/raw\n"


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (never_executed, "chapter: code cell 2 was never executed"),
        (executed_twice, "chapter: cells were executed out of order or in a used kernel: [1, 2, 3, 5]"),
        (error_output, "chapter: code cell 4 ended in ValueError: no"),
        (too_few_checked, "chapter: 2 cells are tagged nbval-check-output, expected at least 3"),
        (checked_without_output, "chapter: code cell 1 is tagged nbval-check-output and has no output"),
        (
            checked_number,
            "chapter: code cell 1 is tagged nbval-check-output and glues: that number would be compared too",
        ),
        (
            code_changed,
            "chapter: changed since its outputs were made: its code; run `make notebooks`",
        ),
        (no_caption, "chapter: the picture of code cell 4 has no caption (mystnb.figure.caption)"),
        (
            no_alternative_text,
            "chapter: the picture of code cell 4 has no alternative text (mystnb.image.alt)",
        ),
        (machine_path, "chapter: the output of code cell 1 names the path /home/reader"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_guard_finds_what_it_guards_against_and_nothing_else(tmp_path, break_it, complaint):
    notebook = sound_notebook()
    break_it(notebook.cells)
    assert complaints(tmp_path, notebook) == [complaint]


def test_outputs_of_unknown_origin_are_found(tmp_path):
    notebook = sound_notebook()
    del notebook.metadata["wavescore"]
    assert complaints(tmp_path, notebook) == [
        "chapter: nothing says what its outputs were made from; run `make notebooks`"
    ]


def test_outputs_of_another_dataset_are_found(tmp_path):
    notebook = sound_notebook()
    notebook.metadata.wavescore.dataset = "strokes"
    assert complaints(tmp_path, notebook) == ["chapter: its outputs were made on strokes, expected mnist"]


def glued(text):
    data = {"application/papermill.record/text/plain": repr(text)}
    return v4.new_output("display_data", data=data, metadata={"scrapbook": {"name": "chapter-mse"}})


def tabulated(*rows):
    text = tabulate([["cubic 1", *row] for row in rows], headers=["D = 3", "σ = 4"], tablefmt="html")
    return v4.new_output("execute_result", data={"text/html": str(text)}, execution_count=3)


KNOWN = {
    "mnist": dict(zip("abcde", (0.1234, -1.8, 1234, 4.4e11, 2e-12), strict=True)),
    "strokes": dict.fromkeys("abcde", 1.0),
}


@pytest.mark.parametrize(
    "text", ["0.12", "12.3 %", "12 %", "-1.8", "-2 ± 0.7 %", "1,234 images", "1,200", "4 · 10¹¹", "2e-12", "MNIST"]
)
def test_recorded_numbers_may_be_shown_in_many_ways(tmp_path, text):
    assert numbers_complained_of(tmp_path, glued(text)) == []
    assert numbers_complained_of(tmp_path, tabulated([text])) == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("0.13", "0.13"),
        ("12.4 %", "12.4"),
        ("1.8", "1.8"),
        ("1.235", "1.235"),
        ("-1.8 and +12 or 3", "3"),
        ("5 · 10¹¹", "5e11"),
    ],
)
def test_numbers_that_no_record_has_are_found(tmp_path, text, unknown):
    ending = f"of code cell 3 shows {unknown}; its record has no such number"
    assert numbers_complained_of(tmp_path, glued(text)) == [f"chapter: the glued chapter-mse {ending}"]
    assert numbers_complained_of(tmp_path, tabulated(["0.12"], [text])) == [f"chapter: the table {ending}"]


def numbers_complained_of(tmp_path, output):
    notebook = sound_notebook()
    notebook.cells[3].metadata.tags, notebook.cells[4].metadata.tags = [], ["nbval-check-output"]
    notebook.cells[3].outputs = [output]
    shutil.rmtree(tmp_path / "records", ignore_errors=True)
    return complaints(tmp_path, notebook, KNOWN)


def test_a_chapter_is_excused_only_where_it_shows_numbers_that_are_not_recorded():
    shown = {path.stem: list(guards.shown_numbers(read(path), path)) for path in chapters()}
    assert [name for name in guards.UNRECORDED if not shown[name]] == []


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (None, "there is no record at records/chapter.json"),
        ({"mnist": {"mse": 0.1}}, "its record has no references for strokes"),
        ({"strokes": {"mse": 0.1}, "mnist": {}}, "its record has no references for mnist"),
        (
            {"mnist": {"mse": 0.1, "mae": 1}, "strokes": {"mse": 0.1, "psnr": 1}},
            "its record has references on one dataset only for mae, psnr",
        ),
    ],
    ids=["no record", "no strokes", "no mnist", "other names"],
)
def test_missing_references_are_found(tmp_path, record, complaint):
    assert complaints(tmp_path, sound_notebook(), record) == [f"chapter: {complaint}"]


def test_a_chapter_without_numbers_needs_no_record(tmp_path):
    notebook = sound_notebook()
    notebook.cells[3].source = "print(3)"
    assert complaints(tmp_path, made(notebook), record=None) == []


def test_a_cell_that_is_not_plain_python_is_found(tmp_path):
    notebook = sound_notebook()
    notebook.cells[2].source = "%time print(2)"
    assert complaints(tmp_path, notebook) == [
        "chapter: code cell 2 is not plain Python: invalid syntax; run `make notebooks`"
    ]


PACKAGE = {
    "__init__.py": "from .low import number\nfrom .high import more",
    "low.py": "def number(): return 1",
    "high.py": "from .low import number\ndef more(): return number() + 1",
    "aside.py": "",
}


@pytest.fixture
def checkout(tmp_path):
    """A function that writes a file of a small checkout and gives its package, read anew."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return Package(tmp_path / "small")

    for name, text in PACKAGE.items():
        write(f"small/{name}", text)
    write("book/records/other.json", "{}")
    write("book/records/chapter.json", "{}")
    write("tables/a.csv", "1")
    return write


@pytest.mark.parametrize(
    ("name", "text", "changed"),
    [
        ("small/high.py", PACKAGE["high.py"] + " + 1", "small/high.py"),
        ("small/low.py", "def number(): return 2", "small/low.py"),
        ("small/low.py", "def number() -> int:\n    'Say it.'\n    return 1  # one", ""),
        (
            "small/high.py",
            "from . import aside\n" + PACKAGE["high.py"],
            "small/aside.py (not used before), small/high.py",
        ),
        ("small/high.py", "def more(): return 2", "small/high.py, small/low.py (not used any more)"),
        ("small/aside.py", "x = 1", ""),
        ("tables/a.csv", "2", "tables/a.csv"),
        ("tables/b.csv", "2", "tables/b.csv (not used before)"),
        ("book/records/other.json", '{"mnist": {}}', "book/records/other.json"),
        ("book/records/chapter.json", '{"mnist": {}}', ""),
    ],
)
def test_a_chapter_is_stale_by_what_it_reaches_and_nothing_else(checkout, tmp_path, monkeypatch, name, text, changed):
    monkeypatch.setitem(FILES, "small.high", ("tables/*.csv",))
    path = tmp_path / "book" / "chapter.ipynb"
    notebook = v4.new_notebook(cells=[v4.new_code_cell("import small as s\ns.more()\nRecord('other', 1)")])
    before = checkout("small/low.py", PACKAGE["low.py"])
    notebook.metadata.wavescore = {"dataset": "mnist", "inputs": inputs(notebook, path, before)}
    assert why_stale(notebook, path, before) == ""
    why = why_stale(notebook, path, checkout(name, text))
    assert why == (f"changed since its outputs were made: {changed}" if changed else "")


def test_a_chapter_that_goes_through_records_by_name_reads_those_that_it_names(checkout, tmp_path):
    path = tmp_path / "book" / "chapter.ipynb"
    source = "names = ['other', 'chapter', 'none']\nfor n in names: Record(n, 'mnist')"
    assert records_read(v4.new_notebook(cells=[v4.new_code_cell(source)]), path) == {"other"}
    source = "Record('chapter', 'mnist'), 'other'"
    assert records_read(v4.new_notebook(cells=[v4.new_code_cell(source)]), path) == set()


def test_files_that_modules_read_are_there():
    modules = Package().files
    for module, patterns in FILES.items():
        assert module in modules
        assert all(list(ROOT.glob(pattern)) for pattern in patterns)


def test_every_notebook_of_the_book_is_in_the_table_of_contents():
    listed = chapters()
    assert listed, "_toc.yml lists no notebook"
    found = sorted(listed[0].parent.glob("*.ipynb"))
    assert sorted(listed) == found


def test_every_equation_of_the_paper_is_found_by_its_number():
    assert guards.equation_complaints(pages(), ROOT / "book" / "equations.md") == []


def test_each_slip_of_an_equation_is_found_and_nothing_else(tmp_path):
    displays = [f"(eq-{n})=\n$$ x = {n} . \\tag{{{n}}} $$\n" for n in guards.NUMBERED]
    links = [f"[eq. {n}](#eq-{n})\n" for n in guards.NUMBERED]
    page, table = tmp_path / "page.ipynb", tmp_path / "table.md"

    def complaints():
        cells = [v4.new_markdown_cell("".join(displays)), v4.new_code_cell("# \n(eq-5)=\n")]
        nbformat.write(v4.new_notebook(cells=cells), page)
        table.write_text("".join(links))
        return guards.equation_complaints([page, table], table)

    assert complaints() == []
    first, second, *rest = displays
    displays[:] = ["(eq-10)=\n", first, first, second.replace("tag{2}", "tag{3}"), *rest[1:]]
    del links[-1]
    assert complaints() == [
        "the display under the anchor eq-10 is not tagged 10",
        "the display under the anchor eq-2 is not tagged 2",
        "the anchor eq-1 stands 2 times in the book, expected 1",
        "the anchor eq-3 stands 0 times in the book, expected 1",
        "the anchor eq-10 stands 1 times in the book, expected 0",
        "table.md does not link eq-24",
    ]
