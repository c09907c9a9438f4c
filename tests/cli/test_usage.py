"""What a command line that cannot be read is told."""

from pathlib import Path

import pytest

from fastnst.cli import main


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
