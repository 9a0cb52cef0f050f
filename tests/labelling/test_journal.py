from pathlib import Path

import pytest

from fcoslite.labelling.journal import Entry, Journal


def entry(name: str) -> Entry:
    return Entry(name, "a.avi", 10, 20, 300, [(1.0, 2.0, 3.5, 4.0)], [0.5], [1], frame=7, seconds=0.7)


def test_what_was_added_is_there(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add(entry("a"))
        journal.add(entry("b"))
        assert Journal(path).entries == {"a": entry("a"), "b": entry("b")}  # already


@pytest.mark.parametrize("rest", [b"", b"{", b'{"name": "c"', b'{"name": "c"}\n', b"\x00" * 50, b"\xff\n"])
def test_it_goes_on_after_half_a_line(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add(entry("a"))
    with path.open("ab") as file:
        file.write(rest)
    with Journal(path) as journal:
        assert list(journal.entries) == ["a"]
        journal.add(entry("b"))
    assert list(Journal(path).entries) == ["a", "b"]


def test_a_whole_line_without_its_end_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add(entry("a"))
    path.write_bytes(path.read_bytes()[:-1])
    with Journal(path) as journal:
        assert journal.entries == {}
