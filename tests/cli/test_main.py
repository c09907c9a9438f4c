"""How every command ends, what a command line that cannot be read is told, and names printed as they are."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from fastnst.cli import COMMANDS, RESEARCH, main
from fastnst.cli.console import Console
from fastnst.cli.export import export
from fastnst.errors import InputError, OutputError


def test_a_folder_that_may_not_be_entered_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "--style", "locked/starry.onnx"])
    assert capfd.readouterr().err == "fastnst: locked/starry.onnx: the system refuses (Permission denied)\n"


def test_names_too_long_or_with_control_characters_stay_on_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"{'n' * 300}.png"
    with pytest.raises(SystemExit, match="1"):
        main(["stylize", "photo.png", "--style", "starry", "-o", str(output)])
    assert capfd.readouterr().err == f"fastnst: {output}: the system refuses (File name too long)\n"
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


LOADED = """
import contextlib, io, sys
from fastnst import cli

def help_of(*words):
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        cli.main([*words, "--help"])

heavy = {"torch", "torchvision", "matplotlib", "onnx", "onnxruntime", "openvino", "av", "cv2"}
exporting = ("export", "quantize")
for command in ("stylise", *cli.COMMANDS, *cli.RESEARCH):
    if command not in exporting:
        help_of(*(["research"] if command in cli.RESEARCH else []), command)
        print(command, *heavy & set(sys.modules))
# It is for broken installations: nothing that may be broken is imported in its own process.
import fastnst.diagnosis.examine
print("diagnosis", *heavy & set(sys.modules))
for command in exporting:
    help_of(command)
import fastnst.research.benchmark, fastnst.research.benchmark
print("export and benchmarks", *{"torch", "torchvision"} & set(sys.modules))
"""


def test_help_diagnosis_and_benchmarks_load_no_more_than_they_need() -> None:
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    lines = found.splitlines()
    assert len(lines) == 1 + len(COMMANDS) - 2 + len(RESEARCH) + 2
    heavy = {"torch", "torchvision", "matplotlib", "onnx", "onnxruntime", "openvino", "av", "cv2"}
    assert [line for line in lines if heavy & set(line.split())] == []


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


def test_an_unknown_command_and_a_missing_option_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["research", "studdy"])
    assert capfd.readouterr().err == (
        "fastnst: no command 'studdy' (see fastnst research --help); did you mean 'study'?\n"
    )
    with pytest.raises(SystemExit, match="2"):
        main(["stylize", "photo.jpg", "--style", "starry"])
    assert capfd.readouterr().err.startswith("fastnst: --output or -o is missing; expected it with a value.")


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
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        ImportError("onnxruntime_pybind11_state.so: failed to map segment from shared object"),
    ],
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


def test_a_torchvision_of_another_pytorch_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_path: Path) -> bool:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(Path, "is_file", fail)
    with pytest.raises(SystemExit, match="1"):
        main(["bench", "--style", "starry.onnx"])
    said = capfd.readouterr().err
    assert said.startswith("fastnst: PyTorch and torchvision do not fit together")
    assert "fastnst doctor" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "research bench-optimize --photo a b --style c -o out",
            "'b' is left over: --photo takes one value at a time; write --photo a --photo b. "
            "See fastnst research bench-optimize --help.",
        ),
        (
            "webcam --style a b",
            "'b' is left over: --style takes one value; put one with spaces into quotes. See fastnst webcam --help.",
        ),
        (
            "stylize a -o out --overwrite true",
            "'true' is left over: --overwrite takes no further value. See fastnst stylize --help.",
        ),
        (
            "styles remove a b",
            "'b' is left over: expected only options there. See fastnst styles remove --help.",
        ),
        (
            "styles ad a",
            "'ad' is left over: expected options, or a command (add, remove). See fastnst styles --help.",
        ),
        (
            "stylize -dash.png -o out",
            "Unknown option: -dash.png. -d is not a recognized option. The file of this name is ./-dash.png. "
            "See fastnst stylize --help.",
        ),
        ("stylise a", "no command 'stylise' (see fastnst --help); did you mean 'stylize'?"),
    ],
)
def test_what_to_do_is_said(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-dash.png").touch()
    with pytest.raises(SystemExit, match="2"):
        main(line.split())
    assert capfd.readouterr() == ("", f"fastnst: {words}\n")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("run[v2]/[/b].png", "run[v2]/[/b].png"),
        ("[red]a[/red] [link=x]", "[red]a[/red] [link=x]"),
        (":smile:.png", ":smile:.png"),
        ("a\x1b[31m\x1b]0;title\x07b", "a\\x1b[31m\\x1b]0;title\\x07b"),
        ("caf\udce9.jpg", "caf\\udce9.jpg"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("n" * 300 + " x" * 100, "n" * 300 + " x" * 100),
        ("café 写 👩\u200d🎨", "café 写 👩\u200d🎨"),
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_names(name: str, shown: str, terminal: bool) -> None:
    console = Console()
    console.file, console._force_terminal, console.width = io.StringIO(), terminal, 40
    console.print(f"{name}: stylized")
    console.print(name, style="red", end="")
    printed = console.file.getvalue()
    assert f"{shown}: stylized\n" in printed
    assert printed.count(shown) == 2
    if not terminal:
        assert printed == f"{shown}: stylized\n{shown}"


def test_models_are_never_overwritten_and_onnx_is_none(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"trained for hours")
    with pytest.raises(OutputError, match=r"model\.safetensors: is no name of an ONNX file; let it end in \.onnx"):
        export(str(model), output=model, overwrite=True)
    assert model.read_bytes() == b"trained for hours"
    (tmp_path / "starry.onnx").touch()
    with pytest.raises(InputError, match=r"starry\.onnx: is ONNX already; name another output by -o"):
        export(str(tmp_path / "starry.onnx"))


def test_help_takes_no_memory_that_work_would_need(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fastnst.machine.available_memory", lambda: 1_000_000)
    for command in ("stylize", "optimize"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "a.jpg", "--style", "starry", "-o", "b.jpg"])
        assert stopped.value.code == 1
        assert f"fastnst {command} needs" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["stylize", "--help"])
    assert stopped.value.code == 0
