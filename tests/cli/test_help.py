"""The help of commands: grouped, with what is required and what most people need first."""

import re

import pytest

from fastnst import cli

TITLES = re.compile(r"^╭─ (.+?) ─", re.MULTILINE)
OPTIONS = re.compile(r"^│ (?:[* ] {2})?(--[a-z-]+)", re.MULTILINE)

EVERY_COMMAND = [[name] for name in cli.COMMANDS] + [["research", name] for name in cli.RESEARCH]


def shown(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command, "--help"])
    return capsys.readouterr().out


def options(text: str, title: str) -> list[str]:
    """Names of the options in a group, in their order."""
    return OPTIONS.findall(text.split(f"╭─ {title} ─")[1].split("╰", maxsplit=1)[0])


def test_commands_are_in_groups_each_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    assert text.startswith("Usage: fastnst COMMAND")
    assert TITLES.findall(text) == ["Stylize", "Train", "Exact", "Measure", "Manage", "Options"]
    commands = re.findall(r"^│ ([a-z]+)  ", text, re.MULTILINE)
    assert commands == [name for names in cli.GROUPS.values() for name in names]
    grouped = [name for names in cli.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted([*cli.COMMANDS, "research"])


def test_train_and_optimize_begin_with_what_most_people_need(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "train")
    assert TITLES.findall(text) == ["Basics", "Look", "Schedule", "Loss", "Research"]
    first = options(text, "Basics")
    assert first[:6] == ["--style", "--content", "--name", "--output", "--budget", "--network"]
    assert {"--style-weight", "--strength-input"} <= set(options(text, "Look"))
    assert {"--steps", "--learning-rate"} <= set(options(text, "Schedule"))
    assert {"--style-layers", "--loss-network"} <= set(options(text, "Loss"))
    assert {"--normalization", "--seed"} <= set(options(text, "Research"))
    text = shown(capsys, "optimize")
    assert TITLES.findall(text) == ["Arguments", "Basics", "Look", "Schedule", "Loss", "Research"]
    assert options(text, "Basics")[:5] == ["--style", "--output", "--preset", "--steps", "--size"]
    assert {"--style-mask", "--content-target", "--color"} <= set(options(text, "Look"))


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_no_option_empties_a_list_and_required_ones_are_first(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, *command)
    assert "--empty-" not in text
    for panel in text.split("╭─ ")[1:]:
        marks = [line.startswith("│ *") for line in panel.splitlines() if re.match(r"│ [* ] {2}(--|[A-Z])", line)]
        assert marks == sorted(marks, reverse=True)


def test_help_says_a_sentence_of_each_option_with_its_default_and_more_with_verbose(
    capsys: pytest.CaptureFixture[str],
) -> None:
    short, long = (words_of(shown(capsys, "train", *more)) for more in ((), ("--verbose",)))
    first = "Weight of the penalty on flicker: the same picture, moved and with noise, must be stylized alike."
    assert first in short
    assert f"{first} For films and cameras 0.3 to 1;" in long
    assert "vgg19 and vgg16 have torchvision's weights" in short, "what choices mean is part of the sentence"
    assert "By default auto for networks for live pictures" in short
    text = words_of(shown(capsys, "train"))
    assert "[default: relu1_1 relu2_1 relu3_1 relu4_1 relu5_1]" in text
    assert re.findall(r"""\[default: (?:"|\(|\[|False)""", text + words_of(shown(capsys, "optimize"))) == []


def words_of(text: str) -> str:
    """Text in boxes as one line, without what surrounds it and without the names of options."""
    return re.sub(r"\s+", " ", re.sub(r"│(?: +--[a-z-]+ [A-Z|.]+)?", " ", text))
