"""Lines to files, pipes, devices and the standard output."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fcoslite.errors import FcosliteError
from fcoslite.storage.files import replace_file
from fcoslite.storage.line_file import LineFile, is_stdout
from fcoslite.storage.space import check_room, check_writable

posix = pytest.mark.skipif(os.name != "posix", reason="has no such files")

WRITES = """
import sys
from pathlib import Path
from fcoslite.cli.standard_streams import prepare_streams
from fcoslite.storage.line_file import LineFile
prepare_streams()
file = LineFile(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    file.write(f"é {number} caf\\udce9\\n")
file.close()
"""


def writes(to: str, lines: int = 2, **options: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **options}
    return subprocess.run([sys.executable, "-c", WRITES, to, str(lines)], capture_output=True, env=environment)


@pytest.mark.parametrize("to", ["-", *(["/dev/stdout", "/dev/fd/1"] if os.name == "posix" else [])])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1:surrogateescape"])
def test_the_standard_output_is_utf8(to: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = writes(to, PYTHONIOENCODING=encoding)
    assert done.stdout == "é 0 caf%E9\né 1 caf%E9\n".encode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_the_standard_output_where_that_leads_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        subprocess.run([sys.executable, "-c", WRITES, str(path), "2"], stdout=file, check=True)
    assert len(path.read_bytes().splitlines()) == 2
    assert not is_stdout(path)


@posix
def test_a_reader_that_ends_ends_it() -> None:
    command = f"{sys.executable} -c '{WRITES}' - 100000 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout == "é 0 caf%E9\n"
    assert "NoReaderError" in done.stderr  # of which the command line says nothing


@posix
def test_a_pipe_has_no_disk_that_could_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr("fcoslite.storage.space._SPARE_BYTES", 2**80)
    with pytest.raises(FcosliteError, match="is full"):
        check_room(tmp_path / "file")
    for path in (pipe, Path("/dev/null")):
        check_room(path)
        check_writable(path, "", folder=False)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    file = LineFile(pipe)
    file.write("1\n")
    file.write("2\n")
    file.close()
    reader.join(10)
    assert read == [b"1\n2\n"]


@posix
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, b"whole")
    reader.join(10)
    assert read == [b"whole"]
    assert pipe.is_fifo()
