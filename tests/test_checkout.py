"""Tables and records are found from any working directory: those of the copy of the book that one is in."""

import os
from pathlib import Path

import pytest

import wavescore_lite as ws
from tools.notebooks import stage
from wavescore_lite.study import Baseline, Trial
from wavescore_lite.study.experiments import run
from wavescore_lite.support import checkout

ROOT = Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path):
    """Another copy of the book, with a table and a record of its own."""
    root = tmp_path / "copy"
    for name in ("book/records", "results"):
        (root / name).mkdir(parents=True)
    (root / "_toc.yml").touch()
    run([Trial("strokes", 8, 60, 20, Baseline("Wiener"))], root / "results" / "strokes-8.csv")
    (root / "book" / "records" / "own.json").write_text('{"strokes": {"answer": 42}}')
    return root


@pytest.mark.parametrize("folder", [".", "book", "book/records", "results"])
def test_a_copy_has_its_own(copy, folder, monkeypatch, capsys):
    monkeypatch.chdir(copy / folder)
    assert checkout.checkout() == copy
    assert "Wiener" in ws.Results("strokes", 8).trials
    ws.Record("own", "strokes").check({"answer": 42})
    assert capsys.readouterr().out == "1 number agrees with the record to 0.5 %\n"
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    ws.Record("new", "strokes").check({"answer": 1})
    assert (copy / "book" / "records" / "new.json").is_file()


@pytest.mark.parametrize("folder", [".", "book", "tests"])
def test_elsewhere_it_is_the_one_that_the_package_is_installed_from(folder, tmp_path, monkeypatch):
    for where in (ROOT / folder, tmp_path):
        monkeypatch.chdir(where)
        assert checkout.checkout() == ROOT
        assert "Wiener" in ws.Results("strokes", 16).trials
        assert ws.Record("diffusion", "strokes").path == ROOT / "book" / "records" / "diffusion.json"


def test_another_book_is_none_of_ours(tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    assert checkout.checkout() == ROOT
    assert ws.Record("new", "strokes").path == ROOT / "book" / "records" / "new.json"
    (tmp_path / "book").mkdir()
    assert checkout.checkout() == tmp_path
    ws.Record("new", "strokes").check({"answer": 1})
    assert (tmp_path / "book" / "records" / "new.json").is_file()


@pytest.mark.parametrize("folder", [".", "book"])
def test_a_staged_copy_is_one(folder, tmp_path, monkeypatch):
    staged = stage(tmp_path / "staged")
    monkeypatch.chdir(staged / folder)
    assert checkout.checkout() == staged


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty folder, with the package installed from nowhere that holds a copy of the book."""
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "site-packages" / "wavescore_lite" / "support" / "x.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_any_the_error_names_the_way_out(copy, alone, monkeypatch):
    asked = [lambda: ws.Results("mnist", 32), ws.Record("diffusion", "mnist").recorded]
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    for ask in (*asked, lambda: ws.Record("diffusion", "mnist").check({"answer": 42})):
        with pytest.raises(FileNotFoundError, match=r"no copy of the book here.*_toc\.yml.*folder="):
            ask()
    assert "Wiener" in ws.Results("strokes", 8, os.path.relpath(copy / "results")).trials


def test_without_any_a_chapter_says_so_and_goes_on(copy, alone, monkeypatch, capsys):
    """Such as one that was downloaded from the site; a record that is named or at hand is compared with, or missed."""
    record = ws.Record("own", "strokes")
    record.check({"answer": 41, "other": 0.5})
    assert capsys.readouterr().out == "There is no copy of the book here, and so no record: nothing is compared.\n"
    with pytest.raises(ValueError, match="'answer' must be finite"):
        record.check({"answer": float("nan")})
    with pytest.raises(FileNotFoundError, match="no record of chapter 'own'"):
        ws.Record("own", "strokes", alone).check({"answer": 42})
    monkeypatch.chdir(copy)
    with pytest.raises(ValueError, match="1 of 1 numbers of own on strokes left the record"):
        record.check({"answer": 41})
    with pytest.raises(FileNotFoundError, match="no record of chapter 'other'"):
        ws.Record("other", "strokes").check({"answer": 42})
