"""What is said of a damaged file that fastnst wrote, whatever is wrong with it."""

import json
from pathlib import Path

import pytest

from fastnst.errors import CheckpointError, InputError, SettingError
from fastnst.io.saved import check_kinds, read_table, reading


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
    with pytest.raises(CheckpointError) as caught, reading(Path("run/checkpoint"), "begin anew"):
        raise wrong
    said = str(caught.value)
    assert said.startswith("run/checkpoint: damaged, or of another version of fastnst (")
    assert said.endswith("); begin anew")
    assert "\\n" not in said
    assert "()" not in said


def test_errors_of_ours_pass() -> None:
    with pytest.raises(SettingError, match=r"^mine$"), reading(Path("x"), "begin anew"):
        raise SettingError("mine")


@pytest.mark.parametrize("content", ["", "[]", "3", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\0", "null"])
def test_json_that_is_no_table(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json: damaged, or of another version"):
        read_table(tmp_path / "a.json", "remove it", InputError)


def test_json_that_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_table(tmp_path / "a.json", "remove it") == {"a": 1}


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


def test_values_of_their_kind() -> None:
    check_kinds({"step": 3, "seconds": 2, "losses": [1]}, {"step": 0, "seconds": 0.0, "losses": [], "later": ""})
