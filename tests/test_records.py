import json

import numpy as np
import pytest
import torch

from wavescore_lite.study.records import Record


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    Record("chapter", "mnist", tmp_path).check({"mse": 0.02, "images": 10, "zero": 0.0})
    monkeypatch.delenv("WAVESCORE_RECORD")
    return tmp_path


def test_recorded_numbers_agree_and_the_line_shows_no_dataset(recorded, capsys):
    capsys.readouterr()
    Record("chapter", "mnist", recorded).check({"mse": 0.0200999, "images": 10})
    assert capsys.readouterr().out == "2 numbers agree with the record to 0.5 %\n"


def test_recording_prints_the_line_that_comparing_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    Record("chapter", "strokes", tmp_path).check({"mse": 0.5}, rtol=1e-6)
    monkeypatch.delenv("WAVESCORE_RECORD")
    Record("chapter", "strokes", tmp_path).check({"mse": 0.5}, rtol=1e-6)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second == "1 number agrees with the record to 0.0001 %"


@pytest.mark.parametrize(
    ("tolerances", "line"), [({"rtol": 0, "atol": 0.25}, "0.25"), ({"rtol": 0}, "0"), ({"atol": 0.25}, "0.5 %")]
)
def test_the_line_says_the_tolerance(recorded, capsys, tolerances, line):
    capsys.readouterr()
    Record("chapter", "mnist", recorded).check({"images": 10}, **tolerances)
    assert capsys.readouterr().out == f"1 number agrees with the record to {line}\n"


def test_scalars_of_numpy_and_torch_are_numbers(recorded):
    Record("chapter", "mnist", recorded).check({"mse": np.float32(0.02), "images": torch.tensor([10])})


@pytest.mark.parametrize("value", [0.02011, 0.01989])
def test_a_deviation_names_value_and_reference(recorded, value):
    with pytest.raises(ValueError, match=rf"(?s)1 of 2 .*mse: value {value}, reference 0\.02, .* 0\.0055"):
        Record("chapter", "mnist", recorded).check({"mse": value, "images": 10})


def test_reference_zero_needs_an_absolute_tolerance(recorded):
    record = Record("chapter", "mnist", recorded)
    with pytest.raises(ValueError, match="relative deviation inf"):
        record.check({"zero": 1e-9})
    record.check({"zero": 1e-9}, atol=1e-8)


def test_missing_record_dataset_and_name_are_told_apart(recorded):
    with pytest.raises(FileNotFoundError, match="no record of chapter 'other'"):
        Record("other", "mnist", recorded).check({"mse": 1.0})
    with pytest.raises(KeyError, match=r"no dataset 'strokes' \(it has: mnist\)"):
        Record("chapter", "strokes", recorded).check({"mse": 1.0})
    with pytest.raises(KeyError, match="no reference on mnist for loss, psnr"):
        Record("chapter", "mnist", recorded).check({"psnr": 1.0, "mse": 0.02, "loss": 2.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", None, object()])
def test_what_is_not_a_finite_number_is_refused_and_not_recorded(tmp_path, monkeypatch, value):
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    with pytest.raises(ValueError, match=r"'mse' must be (one number|finite), got"):
        Record("chapter", "mnist", tmp_path).check({"mse": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values",
    [
        {"mse": {("linear", 0.25): 1.0, ("cubic", 2): 2.0}, "all": 3.0},
        {"mse": {"linear": {0.25: torch.tensor(1.0)}, "cubic": {np.int64(2): np.float32(2)}}, "all": 3.0},
    ],
)
def test_mappings_are_taken_apart(tmp_path, monkeypatch, values):
    record = Record("chapter", "mnist", tmp_path)
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    record.check(values)
    assert record.recorded() == {"mse, linear, 0.25": 1.0, "mse, cubic, 2": 2.0, "all": 3.0}


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor])
def test_sequences_are_taken_apart(tmp_path, monkeypatch, make):
    record = Record("chapter", "mnist", tmp_path)
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    record.check({"curve": make([[1.0, 2.0], [3.0, 4.0]])})
    expected = {"curve, 0, 0": 1.0, "curve, 0, 1": 2.0, "curve, 1, 0": 3.0, "curve, 1, 1": 4.0}
    assert record.recorded() == expected
    monkeypatch.delenv("WAVESCORE_RECORD")
    with pytest.raises(ValueError, match=r"1 of 4 .*\n  curve, 1, 0: value 3\.1, reference 3"):
        record.check({"curve": make([[1.0, 2.0], [3.1, 4.0]])})


def test_two_numbers_of_one_name_are_refused(recorded):
    with pytest.raises(ValueError, match="two numbers for a, b; expected one"):
        Record("chapter", "mnist", recorded).check({"a, b": 1.0, "a": {"b": 1.0}})


def test_no_numbers_are_refused(recorded):
    with pytest.raises(ValueError, match="got no numbers"):
        Record("chapter", "mnist", recorded).check({})


@pytest.mark.parametrize(("text", "complaint"), [("{", "is not JSON"), ("[1]", "must hold")])
def test_a_broken_record_is_refused(tmp_path, text, complaint):
    (tmp_path / "chapter.json").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        Record("chapter", "mnist", tmp_path).check({"mse": 1.0})


def test_recording_keeps_other_datasets_and_leaves_no_partial_file(recorded, monkeypatch):
    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    Record("chapter", "strokes", recorded).check({"mse": 0.03})
    assert [path.name for path in recorded.iterdir()] == ["chapter.json"]
    text = (recorded / "chapter.json").read_text()
    record = json.loads(text)
    assert record["mnist"]["mse"] == 0.02
    assert record["strokes"] == {"mse": 0.03}
    assert list(record["mnist"]) == sorted(record["mnist"])
    assert text.endswith("}\n")
