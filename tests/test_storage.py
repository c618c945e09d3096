"""Files are whole or absent, also when several write at once, and what was damaged is refused."""

import json
import os
import resource
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import save_file

from wavescore_lite.support.storage import read, read_rows, whole_file, write

HEADER = {"kind": "sums", "ridge": 1e-6, "range": [0, 1], "coupling": {"name": "ü", "options": {"degree": 2}}}
ARRAYS = {
    "gram": np.arange(6.0).reshape(2, 3).T,  # not contiguous
    "count": np.array(3),
    "none": np.zeros((0, 4), dtype=np.int16),
    "held": np.array([True, False]),
    "large": np.array([2**64 - 1], dtype=np.uint64),
}
DAMAGED = "is cut short, damaged or no wavescore file"


def test_threads_that_write_one_file_leave_one_of_their_texts(tmp_path):
    """Each in its own temporary file: in a common one they would write over each other."""
    path, together = tmp_path / "text", threading.Barrier(4)

    def write(letter):
        with whole_file(path) as file:
            together.wait(timeout=60)
            for _ in range(200):
                file.write(letter.encode() * 50)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = path.read_text()
    assert len(text) == 10_000
    assert len(set(text)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["text"]


def test_an_interrupted_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "text"
    path.write_text("before")

    def write():
        with whole_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["text"]


def test_a_file_may_be_read_by_others(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    with whole_file(tmp_path / "text") as file:
        file.write(b"text")
    assert Path(tmp_path / "text").stat().st_mode == plain.stat().st_mode


def test_what_a_killed_write_left_a_day_ago_is_removed(tmp_path):
    """Not what somebody may be writing now, nor what belongs to another file."""
    old, new, other = (tmp_path / f"{name}.part" for name in ("text.0", "text.1", "other.0"))
    for part in (old, new, other):
        part.touch()
    for part in (old, other):
        os.utime(part, (time.time() - 90_000,) * 2)
    with whole_file(tmp_path / "text") as file:
        file.write(b"text")
    assert {entry.name for entry in tmp_path.iterdir()} == {"text", new.name, other.name}


def test_a_table_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbfname,value\r\none,1\r\n")
    assert read_rows(path) == [{"name": "one", "value": "1"}]
    path.write_bytes(b"name\n\xff\n")
    with pytest.raises(ValueError, match=r"table\.csv is no table in UTF-8"):
        read_rows(path)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "sums"
    write(path, HEADER, ARRAYS)
    return path


def test_what_was_written_is_read(saved):
    header, arrays = read(saved, "sums")
    assert header == {"format": 2, **HEADER}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert_array_equal(arrays[name], array)
    write(saved.with_name("again"), *read(saved, "sums"))
    assert saved.with_name("again").read_bytes() == saved.read_bytes()


def test_a_flipped_bit_is_refused_wherever_it_is(saved):
    """One of each byte, in turn the first to the eighth; all of those that say how long the header is."""
    whole = saved.read_bytes()
    bits = [8 * place + place % 8 for place in range(len(whole))]
    for bit in {*range(64), *bits}:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{saved} {DAMAGED}"):
            read(saved, "sums")


def test_a_file_that_ends_early_or_late_is_refused(saved):
    whole = saved.read_bytes()
    for content in (*(whole[:kept] for kept in range(0, len(whole), 7)), whole + b"\0"):
        saved.write_bytes(content)
        with pytest.raises(ValueError, match=DAMAGED):
            read(saved, "sums")


def test_sizes_that_exceed_the_file_are_refused_before_an_array_is_made(saved):
    """A header that asks for 8 TiB, and one of a shape that is larger than its bytes."""
    tebi = 2**40
    for shape, end in (([tebi], 8 * tebi), ([tebi], 8)):
        header = json.dumps({"gram": {"dtype": "F64", "shape": shape, "data_offsets": [0, end]}}).encode()
        saved.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
        with pytest.raises(ValueError, match=DAMAGED):
            read(saved, "sums")


def exchanged(header, arrays):
    return header, arrays | {"gram": arrays["gram"][::-1].copy()}


def renamed(header, arrays):
    return header, {name.replace("held", "kept"): array for name, array in arrays.items()}


def reshaped(header, arrays):
    return header, arrays | {"gram": arrays["gram"].reshape(2, 3)}


def retyped(header, arrays):
    return header, arrays | {"large": arrays["large"].view(np.int64)}


def left_out(header, arrays):
    return header, {name: array for name, array in arrays.items() if name != "count"}


def retold(header, arrays):
    return header.replace("1e-06", "1e-07"), arrays


@pytest.mark.parametrize("change", [exchanged, renamed, reshaped, retyped, left_out, retold])
def test_a_sound_safetensors_file_of_other_contents_is_refused(saved, change):
    """The digest is over all of it: values, names, shapes, types and the header."""
    _, arrays = read(saved, "sums")
    start = int.from_bytes(saved.read_bytes()[:8], "little")
    digest, _, told = json.loads(saved.read_bytes()[8 : 8 + start])["__metadata__"]["wavescore"].partition(" ")
    save_file(arrays, saved, {"wavescore": f"{digest} {told}"})
    assert read(saved, "sums")[0]["ridge"] == 1e-6
    told, arrays = change(told, arrays)
    save_file(arrays, saved, {"wavescore": f"{digest} {told}"})
    with pytest.raises(ValueError, match=DAMAGED):
        read(saved, "sums")


def other_tensors(path):
    save_file({"weights": np.zeros(3)}, path)


def an_array(path):
    with open(path, "wb") as file:
        np.savez(file, header=np.array(json.dumps({"format": 2, "kind": "sums"})))


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("make", [other_tensors, an_array, a_folder, lambda path: path.write_text("a text")])
def test_what_is_no_such_file_is_refused_by_name(saved, make):
    make(saved)
    with pytest.raises(ValueError, match=f"{saved} {DAMAGED}"):
        read(saved, "sums")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere", "sums")


def test_another_kind_and_another_version_are_named(saved):
    with pytest.raises(ValueError, match="is of kind 'sums'; expected 'training'"):
        read(saved, "training")
    with pytest.raises(ValueError, match="is of format 2, and this version reads 3: make it again"):
        read(saved, "sums", version=3)


def test_a_full_disk_leaves_what_was_there(saved):
    """As far as a limit on the size of files is like one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OSError, match=f"{saved} could not be written: .*too large"):
            write(saved, HEADER, {"gram": np.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_array_equal(read(saved, "sums")[1]["gram"], ARRAYS["gram"])
    assert [entry.name for entry in saved.parent.iterdir()] == ["sums"]
