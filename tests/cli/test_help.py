"""The help of commands: grouped, with what is required and what most people need first."""

import os
import re
import subprocess
import sys

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


def test_commands_are_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    assert text.startswith("Usage: fastnst COMMAND")
    assert TITLES.findall(text) == ["Stylize", "Train", "Exact", "Measure", "Manage", "Options"]
    commands = re.findall(r"^│ ([a-z]+)  ", text, re.MULTILINE)
    assert commands == [name for names in cli.GROUPS.values() for name in names]


def test_every_command_is_in_one_group() -> None:
    grouped = [name for names in cli.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted([*cli.COMMANDS, "research"])


def test_train_begins_with_what_most_people_need(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "train")
    assert TITLES.findall(text) == ["Parameters", "Look", "Schedule", "Loss", "Research"]
    first = options(text, "Parameters")
    assert first[:6] == ["--style", "--content", "--name", "--output", "--budget", "--network"]
    assert {"--style-weight", "--strength-input"} <= set(options(text, "Look"))
    assert {"--steps", "--learning-rate"} <= set(options(text, "Schedule"))
    assert {"--style-layers", "--loss-network"} <= set(options(text, "Loss"))
    assert {"--normalization", "--seed"} <= set(options(text, "Research"))


def test_optimize_begins_with_what_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "optimize")
    assert TITLES.findall(text) == ["Arguments", "Parameters", "Look", "Schedule", "Loss", "Research"]
    assert options(text, "Parameters")[:5] == ["--style", "--output", "--preset", "--steps", "--size"]
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


def test_help_of_a_setting_is_wrapped_by_the_terminal_alone() -> None:
    # In a process of its own: the width is asked for once.
    command = [sys.executable, "-m", "fastnst", "train", "--help"]
    wide = os.environ | {"COLUMNS": "1000", "LINES": "100", "PYTHONIOENCODING": "utf-8"}
    text = subprocess.run(command, env=wide, capture_output=True, encoding="utf-8", check=True).stdout
    (line,) = re.findall("^.*In Python a single path will do.*$", text, re.MULTILINE)
    assert "Style: a picture; given several times" in line
