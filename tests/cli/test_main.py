"""How every command ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from fastnst.cli import main


def test_a_folder_that_may_not_be_entered_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "--style", "locked/starry.onnx"])
    assert capfd.readouterr().err == "fastnst: locked/starry.onnx: the system refuses (Permission denied)\n"


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / f"{'n' * 300}.png"
    with pytest.raises(SystemExit, match="1"):
        main(["stylize", "photo.png", "--style", "starry", "-o", str(output)])
    assert capfd.readouterr().err == f"fastnst: {output}: the system refuses (File name too long)\n"


def test_a_name_with_control_characters_stays_on_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "--style", "a\x1b[31m\nb.onnx"])
    assert capfd.readouterr().err == "fastnst: a\\x1b[31m\\nb.onnx: no such file; expected a style's .onnx\n"


def test_ctrl_c_is_said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupt(_path: Path) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "is_file", interrupt)
    with pytest.raises(SystemExit, match="130"):
        main(["bench", "--style", "starry.onnx"])
    assert capfd.readouterr().err == "fastnst: stopped\n"


def test_an_unknown_command_imports_nothing() -> None:
    code = (
        "import sys; from contextlib import suppress; from fastnst.cli import main\n"
        "with suppress(SystemExit): main(['stylise'])\n"
        "print({'torch', 'onnxruntime', 'av'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


@pytest.mark.parametrize("command", ["study", "distill", "bench-optimize"])
def test_commands_that_moved_go_on_under_their_old_names(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    printed = capfd.readouterr()
    assert printed.err == f"fastnst {command} is now fastnst research {command}\n"
    assert f"Usage: fastnst research {command}" in printed.out
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert f" {command} " not in capfd.readouterr().out


def test_an_unknown_command_below_research_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["research", "studdy"])
    assert capfd.readouterr().err == (
        "fastnst: no command 'studdy' (see fastnst research --help); did you mean 'study'?\n"
    )


def test_ctrl_c_while_it_is_imported_is_said() -> None:
    code = (
        "import sys, builtins; real = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'cyclopts': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = interrupted\n"
        "from fastnst.__main__ import run; run()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr, ended.stdout) == (130, "fastnst: stopped\n", "")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
def test_too_little_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_path: Path) -> bool:
        raise error

    monkeypatch.setattr(Path, "is_file", fail)
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "--style", "starry.onnx"])
    said = capfd.readouterr().err
    assert said.startswith("fastnst: there is not enough memory")
    assert said.count("\n") == 1
