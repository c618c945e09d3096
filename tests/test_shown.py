import numpy as np
import pytest
import torch

from wavescore_lite.study import Record, Shown


@pytest.fixture
def shown(tmp_path):
    return Shown(Record("chapter", "mnist", tmp_path))


def test_numbers_are_kept_as_they_are_and_shown_as_asked(shown):
    assert shown.text("share", 0.12345, "{:.1%}") == "12.3%"
    assert shown.text("gain", torch.tensor([1.26, 0.1]), "{:+.1f} ± {:.1f}") == "+1.3 ± 0.1"
    np.testing.assert_array_equal(shown.keep("grid", [[1, 2], [3, 4]]), [[1.0, 2.0], [3.0, 4.0]])
    expected = {"share": 0.12345, "gain, 0": 1.26, "gain, 1": 0.1}
    expected |= {f"grid, {place}": place + 1.0 for place in range(4)}
    assert shown.numbers == pytest.approx(expected)


def test_cells_of_a_table_are_kept_by_row_and_column(shown):
    html = shown.table("errors", [["a", (0.5, 0.01), None], ["b", "none", (2, 0)]], ["", "x", "y"], "{:.1f} ± {:.2f}")
    assert shown.numbers == {
        "errors, 0, 1, 0": 0.5,
        "errors, 0, 1, 1": 0.01,
        "errors, 1, 2, 0": 2,
        "errors, 1, 2, 1": 0,
    }
    assert "<td>0.5 ± 0.01" in html
    assert "<td>none" in html


def test_a_name_stands_for_one_number(shown):
    shown.keep("curve", [1, 2])
    with pytest.raises(ValueError, match="'curve, 1' is kept already"):
        shown.keep("curve, 1", 3)


def test_a_wrong_factor_leaves_the_record(tmp_path, monkeypatch, capsys):
    def page(factor):
        shown = Shown(Record("chapter", "mnist", tmp_path))
        shown.keep("drawn", [factor * 0.25, 0.0])
        shown.check()

    monkeypatch.setenv("WAVESCORE_RECORD", "1")
    page(1)
    monkeypatch.delenv("WAVESCORE_RECORD")
    page(1.004)
    assert capsys.readouterr().out == 2 * "2 numbers agree with the record to 0.5 %\n"
    with pytest.raises(ValueError, match=r"1 of 2 .*\n  drawn, 0: value 0\.2525"):
        page(1.01)
