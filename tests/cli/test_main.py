from pathlib import Path

import pytest

from fastnst.cli import main
from fastnst.exact import optimize


@pytest.fixture
def arguments(photos: Path, style_picture: Path, tmp_path: Path) -> list[str]:
    return ["optimize", str(photos / "photo0.png"), "--style", str(style_picture), "-o", str(tmp_path / "out.png")]


def test_what_the_system_refuses_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments[-1] = str(tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"fastnst: {arguments[-1]}: File name too long\n"


def test_ctrl_c_before_the_work_is_told(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimize, "optimize", stop)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "fastnst: stopped"
