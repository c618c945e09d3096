"""What every committed chapter must be, so that the notebook tests mean something: nbval passes empty notebooks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

from nbformat import NotebookNode

from tools.inputs import why_stale
from tools.notebooks import code_cells, read
from wavescore_lite.data.registry import AUTO

CHECKED_TAG = "nbval-check-output"
FEWEST_CHECKED = 3
DATASETS = AUTO  # what a chapter may run on: outputs are made on the first, and both have records
GLUED = "papermill.record"
IMAGES = ("image/png", "image/svg+xml", "image/jpeg")
NUMBERED = (*range(1, 10), *range(12, 25))  # the paper's numbering goes from 9 to 12
# Chapters that show numbers from elsewhere, as of `results/`, or not yet recorded: only those, and fewer each time.
UNRECORDED = ("what_the_samples_say",)
ANCHOR = re.compile(r"^\(eq-(\d+)\)=\n(?=(.*?\$\$.*?\$\$|.*))", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(#eq-(\d+)\)")
NUMBER = re.compile(r"(?<![\w.,])[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
TENS = re.compile(r" · 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
MACHINE_PATH = re.compile(r"(?<![\w./])/(?:home|Users|root|tmp|work|mnt|opt|usr|var)/[\w.-]+")

Guard = Callable[[NotebookNode, Path], Iterator[str]]


def complaints(path: Path) -> list[str]:
    """All that is wrong with the chapter at `path`; empty when it is sound."""
    notebook = read(path)
    return [f"{path.stem}: {complaint}" for guard in GUARDS for complaint in guard(notebook, path)]


def equation_complaints(pages: Iterable[Path], table: Path) -> list[str]:
    """All that is wrong with the paper's equations in `pages`, and with the page `table` that lists them."""
    found = [match.groups() for page in pages for match in ANCHOR.finditer(_prose(page))]
    count = Counter(int(number) for number, _ in found)
    linked = {int(number) for number in LINK.findall(_prose(table))}
    wrong = [
        f"the display under the anchor eq-{number} is not tagged {number}"
        for number, display in found
        if rf"\tag{{{number}}}" not in display
    ]
    wrong += [
        f"the anchor eq-{n} stands {count[n]} times in the book, expected {int(n in NUMBERED)}"
        for n in sorted({*NUMBERED, *count})
        if count[n] != (n in NUMBERED)
    ]
    wrong += [f"{table.name} does not link eq-{n}" for n in NUMBERED if n not in linked]
    return wrong


def _prose(page: Path) -> str:
    """A page without its code."""
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in read(page).cells if cell.cell_type == "markdown")


def executed(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Every code cell was executed."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        if cell.execution_count is None:
            yield f"code cell {number} was never executed"


def in_order(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """The cells ran once each, from top to bottom, in a fresh kernel."""
    counts = [cell.execution_count for cell in code_cells(notebook) if cell.execution_count is not None]
    if counts != list(range(1, len(counts) + 1)):
        yield f"cells were executed out of order or in a used kernel: {counts}"


def without_errors(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """No output is an error."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {number} ended in {output.ename}: {output.evalue}"


def checked(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """At least three cells are compared by nbval, and each of them has something to compare."""
    tagged = [
        (number, cell)
        for number, cell in enumerate(code_cells(notebook), start=1)
        if CHECKED_TAG in cell.metadata.get("tags", [])
    ]
    if len(tagged) < FEWEST_CHECKED:
        yield f"{len(tagged)} cells are tagged {CHECKED_TAG}, expected at least {FEWEST_CHECKED}"
    for number, cell in tagged:
        if cell.execution_count is not None and not cell.outputs:
            yield f"code cell {number} is tagged {CHECKED_TAG} and has no output"
        if any(GLUED in mime for output in cell.outputs for mime in output.get("data", {})):
            yield f"code cell {number} is tagged {CHECKED_TAG} and glues: that number would be compared too"


def fresh(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """The outputs are those that the chapter would give today, on MNIST."""
    if why := why_stale(notebook, path):
        yield f"{why}; run `make notebooks`"
    elif (dataset := notebook.metadata["wavescore"]["dataset"]) != DATASETS[0]:
        yield f"its outputs were made on {dataset}, expected {DATASETS[0]}"


def captioned(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Every picture has a caption and a text for those who cannot see it."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        if any(mime in output.get("data", {}) for output in cell.outputs for mime in IMAGES):
            metadata = cell.metadata.get("mystnb", {})
            if not metadata.get("figure", {}).get("caption"):
                yield f"the picture of code cell {number} has no caption (mystnb.figure.caption)"
            if not metadata.get("image", {}).get("alt"):
                yield f"the picture of code cell {number} has no alternative text (mystnb.image.alt)"


def recorded(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """A chapter that compares numbers has references for the same names on every dataset."""
    if not any(".check(" in cell.source for cell in code_cells(notebook)):
        return
    record_path = path.parent / "records" / f"{path.stem}.json"
    if not record_path.is_file():
        yield f"there is no record at {record_path.parent.name}/{record_path.name}"
        return
    record = json.loads(record_path.read_text(encoding="utf-8"))
    missing = [dataset for dataset in DATASETS if not record.get(dataset)]
    if missing:
        yield f"its record has no references for {' and '.join(missing)}"
    elif unmatched := sorted(set.symmetric_difference(*(set(record[dataset]) for dataset in DATASETS))):
        yield f"its record has references on one dataset only for {', '.join(unmatched)}"


def shown(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Every number that is glued or tabulated is recorded; the chapters in `UNRECORDED` are excused."""
    if path.stem not in UNRECORDED:
        yield from shown_numbers(notebook, path)


def shown_numbers(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Numbers that are glued or tabulated, and are none of the record, rounded, as it is or in per cent.

    What stands after ± is exempt, and so are the headers of a table and its first column.
    """
    record_path = path.parent / "records" / f"{path.stem}.json"
    record = json.loads(record_path.read_text(encoding="utf-8")) if record_path.is_file() else {}
    known = record.get(DATASETS[0], {}).values()
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.outputs:
            for what, text in _shown(output):
                if unknown := [token for token in _numbers(text) if not _recorded(token, known)]:
                    yield f"{what} of code cell {number} shows {', '.join(unknown)}; its record has no such number"


def _shown(output: NotebookNode) -> Iterator[tuple[str, str]]:
    """Texts of an output in which numbers reach the reader, each with what it is."""
    data = output.get("data", {})
    for mime, text in data.items():
        if GLUED in mime:
            yield f"the glued {output.metadata['scrapbook']['name']}", text
    table = data.get("text/html", "") or data.get("text/plain", "")
    if "<table" in table:
        cells = _Cells()
        cells.feed(table)
        yield "the table", "\n".join(cells.texts)


class _Cells(HTMLParser):
    """The texts of a table's cells, but for headers and the first column."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._column = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("tr", "td"):
            self._column = self._column + 1 if tag == "td" else 0
        if tag == "td" and self._column > 1:
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self._column > 1:
            self.texts[-1] += data


def _numbers(text: str) -> list[str]:
    """The numbers in a text, as they are written, without those after ±."""
    plain = TENS.sub(lambda found: f"e{found[1].translate(RAISED)}", text)
    return NUMBER.findall(re.sub(r"± *[\d.]+", "", plain))


def _recorded(token: str, known: Collection[float]) -> bool:
    """Whether a number as it is written is one of those known, rounded, as it is or in per cent."""
    mantissa, _, exponent = token.replace(",", "").replace("−", "-").partition("e")
    whole, _, decimals = mantissa.partition(".")
    dropped = 0 if decimals else len(whole) - len(whole.rstrip("0"))  # 1,200 may stand for 1,234
    unit = 10.0 ** (int(exponent or 0) + dropped - len(decimals))
    value = float(f"{mantissa}e{exponent or 0}")
    return any(abs(scale * number - value) <= (0.5 + 1e-6) * unit for number in known for scale in (1, 100))


def portable(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """No output names a place on the machine that made it."""
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell.outputs:
            for text in _texts(output):
                if found := MACHINE_PATH.search(text):
                    yield f"the output of code cell {number} names the path {found.group()}"


def _texts(output: NotebookNode) -> Iterator[str]:
    if "text" in output:
        yield output.text
    for mime, data in output.get("data", {}).items():
        if mime.startswith("text/"):
            yield data


GUARDS: tuple[Guard, ...] = (
    executed,
    in_order,
    without_errors,
    checked,
    fresh,
    captioned,
    recorded,
    shown,
    portable,
)
