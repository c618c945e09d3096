"""Files are whole or absent, also when several write at once."""

import threading
from pathlib import Path

import pytest

from wavescore_lite.support.storage import whole_file


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
