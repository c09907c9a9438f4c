"""`fastnst doctor` as a user sees it."""

import json

import pytest

from fastnst import cli
from fastnst.diagnosis import examine as examining
from fastnst.diagnosis.examine import Diagnosis, Finding

FINE = Finding("providers", "cpu", "ok")
ABSENT = Finding("providers", "openvino", "absent", "not installed [yet]", "python -m pip install openvino")
WRONG = Finding("codecs", "av1", "wrong", "missing", "python -m pip install --force-reinstall av")
BROKEN = Finding("versions", "onnxruntime", "broken", "not installed")


def run(monkeypatch: pytest.MonkeyPatch, *findings: Finding, arguments: tuple[str, ...] = ()) -> int:
    monkeypatch.setattr(examining, "examine", lambda: Diagnosis(findings))
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", *arguments])
    return int(caught.value.code or 0)


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, FINE, ABSENT) == 0
    assert capfd.readouterr().out == (
        "providers\n  ok  cpu\n  --  openvino: not installed [yet]\n        python -m pip install openvino\n"
        "All is well.\n"
    )


def test_something_is_wrong_that_painting_does_not_need(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, FINE, WRONG) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[2:] == [
        "codecs",
        "  !!  av1: missing",
        "        python -m pip install --force-reinstall av",
        "1 thing is wrong (av1); pictures can be stylized.",
    ]


def test_something_needed_is_broken(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, BROKEN, WRONG) == 1
    out = capfd.readouterr().out
    assert "  XX  onnxruntime: not installed\n" in out
    assert out.endswith("2 things are wrong (onnxruntime, av1); no picture can be stylized before that is fixed.\n")


def test_json(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, BROKEN, arguments=("--as-json",)) == 1
    read = json.loads(capfd.readouterr().out)
    assert read["works"] is False
    assert read["findings"][0]["name"] == "onnxruntime"
