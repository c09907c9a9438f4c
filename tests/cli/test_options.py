"""One meaning for each option: a name that several commands have means the same in all of them; old names say the
new."""

import re
from collections import defaultdict

import pytest

from fastnst import cli
from fastnst.renamed import RENAMED, new_name, with_current_names

COMMANDS = [*([name] for name in cli.COMMANDS), *(["research", name] for name in cli.RESEARCH)]
COMMANDS += [["styles", "add"], ["styles", "remove"]]

COMMON = re.compile(r"[.:;]( |$)")
"""Where what an option means ends, in its help, and what a command adds to it begins."""


def options(command: list[str]) -> dict[str, str]:
    """Meaning of each option of a command: the first words of its help."""
    app = cli.app
    for name in command:
        app = app[name]
    arguments = app.assemble_argument_collection(parse_docstring=True)
    return {
        name: COMMON.split(" ".join((argument.parameter.help or "").split()))[0]
        for argument in arguments
        for name in argument.names
        if name.startswith("--") and not name.startswith("--empty-")
    }


def test_an_option_means_the_same_in_all_commands() -> None:
    meanings: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for command in COMMANDS:
        for option, meaning in options(command).items():
            meanings[option][meaning].append(" ".join(command))
    several = {option: dict(found) for option, found in meanings.items() if len(found) > 1}
    assert not several
    assert len(meanings) > 150
    assert "" not in {meaning for found in meanings.values() for meaning in found}


@pytest.mark.parametrize("command", RENAMED)
def test_old_names_are_gone_and_new_ones_are_there(command: str) -> None:
    known = {name.removeprefix("--") for name in options(command.split())}
    assert not RENAMED[command].keys() & known
    assert {new.split()[0] for new in RENAMED[command].values()} <= known


@pytest.mark.parametrize(("command", "old"), [(command, old) for command in RENAMED for old in RENAMED[command]])
def test_an_old_name_says_the_new_one(command: str, old: str, capfd: pytest.CaptureFixture[str]) -> None:
    for word in (f"--{old}", f"--{old}=1", f"--no-{old}"):
        with pytest.raises(SystemExit, match="2"):
            cli.main([*command.split(), "x.jpg", word, "1", "-o", "out"])
        given = word.partition("=")[0]
        said = f"fastnst: {given} is now --{RENAMED[command][old]}; see fastnst {command} --help\n"
        assert capfd.readouterr() == ("", said)


def test_other_words_are_let_through() -> None:
    assert new_name("train", "--style") is None
    assert new_name("stylize", "--quality") is None
    assert with_current_names("train", {"polish": 0.5, "steps": 9}) == {"fine_tune_fraction": 0.5, "steps": 9}
