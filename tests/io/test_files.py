"""Files written whole or not at all, read with distrust, locked."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastnst.errors import CheckpointError, InputError, OutputError, SettingError
from fastnst.io.files import (
    alone_in,
    append_text,
    atomic_path,
    check_kinds,
    read_regular,
    read_table,
    reading,
    sole_writer,
    write_atomically,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"result\.bin: cannot be written \(No space left"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_creates_folders_replaces_and_takes_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "result.bin"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]
    path = tmp_path / ("n" * 251 + ".png")
    write_atomically(path, b"one")
    assert path.read_bytes() == b"one"


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
def test_others_may_read_a_result_as_any_other_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "result.bin", b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result.bin").stat().st_mode) == 0o640


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path / "a" / "result.bin", b"one")
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(OutputError, match=r"run: cannot be written to \("), alone_in(tmp_path / "run"):
        pass


def test_a_reader_sees_the_old_file_or_the_new_one_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    write_atomically(path, b"old")
    with path.open("rb") as reader:  # of what stood there when it was opened
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"new and longer")
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "result").symlink_to("victim")
    write_atomically(tmp_path / "result", b"new")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert stat.S_ISREG((tmp_path / "result").lstat().st_mode)


@pytest.mark.parametrize("links", [True, False])
def test_without_overwrite_of_several_writers_one_wins(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:  # FAT, for one
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "a" / "result.bin"
    with atomic_path(path, overwrite=False) as temporary:
        temporary.write_bytes(b"slow")
        write_atomically(path, b"quick", overwrite=False)
        with pytest.raises(OutputError, match=r"result\.bin: already exists; --overwrite replaces it"):
            write_atomically(path, b"late", overwrite=False)
        temporary.write_bytes(b"slow")
        path.unlink()
    assert path.read_bytes() == b"slow"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="kills a process in the way of Unix")
def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fastnst.io.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary: os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "result.png"
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".fastnst-*.part.png"))) == 1
    mine = tmp_path / ".notes.part.png"
    mine.write_bytes(b"mine")
    with atomic_path(tmp_path / "other.png") as temporary:
        assert sorted(tmp_path.iterdir()) == sorted([mine, temporary])


def test_a_folder_is_locked_for_others_and_left_clean(tmp_path: Path) -> None:
    folder, said = tmp_path / "run", []
    with alone_in(folder):
        assert folder.is_dir()
    assert not folder.exists()  # nothing came of it
    folder.mkdir()

    def second() -> None:
        try:
            with alone_in(folder):
                said.append("in")
        except OutputError as error:
            said.append(str(error))

    for _ in range(2):
        with alone_in(folder):
            other = threading.Thread(target=second)
            other.start()
            other.join()
        assert list(folder.iterdir()) == []
    assert said == 2 * [f"{folder}: another fastnst is writing there at this moment; choose another"]
    second()
    assert said[2:] == ["in"]


def test_only_ordinary_files_up_to_a_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="has 5 bytes, expected at most 4"):
        read_regular(tmp_path / "file", 4)
    with pytest.raises(OSError, match=r"no ordinary file|directory|denied"):
        read_regular(tmp_path, 4)


@pytest.mark.parametrize("folder", [False, True])
def test_an_output_has_one_writer_at_a_time(tmp_path: Path, folder: bool) -> None:
    output = tmp_path / "new" / "report"
    with sole_writer(output, folder=folder):
        again = subprocess.run(
            [sys.executable, "-c", HOLD.format(output=str(output), folder=folder)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert again.returncode == 1
        assert "report: another fastnst is writing it at this moment" in again.stderr
        write_atomically(output / "a.json" if folder else output, b"mine")
    assert [path.name for path in output.parent.iterdir()] == ["report"]
    with sole_writer(output, folder=folder):  # an earlier run's may be replaced, and several times
        for content in (b"anew", b"again"):
            write_atomically(output / "a.json" if folder else output, content)
    assert (output / "a.json" if folder else output).read_bytes() == b"again"


HOLD = """
from pathlib import Path
from fastnst.io.files import sole_writer
with sole_writer(Path({output!r}), folder={folder}):
    pass
"""


@pytest.mark.parametrize("earlier", [None, b"earlier"])
@pytest.mark.parametrize("folder", [False, True])
def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path, folder: bool, earlier: bytes | None) -> None:
    output = tmp_path / "report"
    file = output / "a.json" if folder else output
    if earlier is not None:
        write_atomically(file, earlier)
    with sole_writer(output, folder=folder):
        other = tmp_path / "other"
        other.write_bytes(b"somebody else's")
        other.replace(file)
        with pytest.raises(OutputError, match="was written by somebody else meanwhile"):
            write_atomically(file, b"mine")
        with pytest.raises(OutputError, match="was written by somebody else meanwhile"):
            append_text(file, "mine")
    assert file.read_bytes() == b"somebody else's"


def test_nothing_is_left_of_an_output_that_nothing_came_of(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "report", folder=True):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        KeyError("random.torch"),
        ValueError("a\nb"),
        ZeroDivisionError(),
        MemoryError(),
        RecursionError("deep"),
        OSError(5, "x"),
    ],
)
def test_whatever_is_wrong_is_one_line_with_a_remedy(wrong: Exception) -> None:
    with pytest.raises(CheckpointError) as caught, reading(Path("run/checkpoint"), "start again"):
        raise wrong
    said = str(caught.value)
    assert said.startswith("run/checkpoint: damaged, or of another version of fastnst (")
    assert said.endswith("); start again")
    assert "\\n" not in said
    assert "()" not in said


def test_errors_of_ours_pass() -> None:
    with pytest.raises(SettingError, match=r"^mine$"), reading(Path("x"), "start again"):
        raise SettingError("mine")


@pytest.mark.parametrize("content", ["", "[]", "3", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\0", "null"])
def test_json_that_is_no_table(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json: damaged, or of another version"):
        read_table(tmp_path / "a.json", "remove it", InputError)


def test_json_and_values_as_they_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_table(tmp_path / "a.json", "remove it") == {"a": 1}
    check_kinds({"step": 3, "seconds": 2, "losses": [1]}, {"step": 0, "seconds": 0.0, "losses": [], "later": ""})


@pytest.mark.parametrize(
    "values",
    [
        '{"step": "3"}',
        '{"step": 1.5}',
        '{"step": true}',
        '{"step": -1}',
        '{"seconds": NaN}',
        '{"seconds": 1e999}',
        '{"seconds": null}',
        '{"losses": {}}',
        '{"network": 1}',
    ],
)
def test_values_of_another_kind(values: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        check_kinds(json.loads(values), {"step": 0, "seconds": 0.0, "losses": []})
