"""Sphinx extension: ``{execution-table}``, which tells what each chapter took, on which dataset and version."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HEADINGS = ("Chapter", "Seconds", "Dataset", "Version")


class ExecutionTable(SphinxDirective):
    """One row per notebook of the table of contents, from the metadata that its execution left."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        rows = []
        for docname in self.config.external_site_map:
            path = Path(self.env.doc2path(docname))
            if path.suffix == ".ipynb":
                self.env.note_dependency(str(path))
                rows.append(self._row(docname, path))
        return [_table([[nodes.Text(text) for text in HEADINGS], *rows])]

    def _row(self, docname: str, path: Path) -> list[nodes.Node]:
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("wavescore", {})
        seconds = metadata.get("seconds")
        cells = (
            "not executed" if seconds is None else f"{seconds:.1f}",
            metadata.get("dataset", ""),
            metadata.get("version", ""),
        )
        link = pending_xref(
            "",
            nodes.inline(),
            refdomain="std",
            reftype="doc",
            refexplicit=False,
            reftarget=f"/{docname}",
        )
        return [link, *map(nodes.Text, cells)]


def _table(rows: list[list[nodes.Node]]) -> nodes.table:
    group = nodes.tgroup(cols=len(HEADINGS))
    group += [nodes.colspec(colwidth=1) for _ in HEADINGS]
    head, body = nodes.thead(), nodes.tbody()
    for number, row in enumerate(rows):
        line = nodes.row()
        line += [nodes.entry("", nodes.paragraph("", "", cell)) for cell in row]
        (body if number else head).append(line)
    group += [head, body]
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("execution-table", ExecutionTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
