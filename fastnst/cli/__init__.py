"""The command line: the only place that prints or exits. Each command's module is imported when it is called.

May import everything, what a command needs inside the command.
"""

import os
import re
import shlex
import sys
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from cyclopts import (
    App,
    ArgumentCollection,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)
from cyclopts.help import DefaultFormatter, InlineText
from rich.text import Text

from fastnst.machine import installed_version

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

COMMANDS = {
    "stylize": "Stylize pictures with a trained style.",
    "video": "Stylize films with a trained style, keeping sound, times and tracks.",
    "webcam": "Stylize what a camera sees, or a film as if it were one, on the screen.",
    "web": "Stylize the webcam on a web page, in the browser; serve it here or write it for any host.",
    "optimize": "Stylize one picture with the exact, slow method (Gatys et al. 2016).",
    "train": "Train a style picture into a network and export it to ONNX.",
    "coco": "Fetch COCO's photographs, which networks learn from.",
    "export": "Turn a style into a file for other programs: ONNX, OpenVINO, Core ML, LiteRT.",
    "compare": "See how close a trained style comes to the exact method.",
    "quantize": "Turn a style into 8-bit integers, if its pictures stay as good.",
    "evaluate": "Measure trained styles side by side, in figures and pictures.",
    "styles": "List the installed styles; add or remove your own.",
    "bench": "Time networks by picture size and provider.",
    "status": "Show how far a batch of pictures or films is, over all its shards.",
    "doctor": "Show what works here, and how to fix the rest.",
}
GROUPS = {
    "Stylize": ("stylize", "video", "webcam", "web"),
    "Train": ("train", "coco", "export", "quantize"),
    "Exact": ("optimize", "compare"),
    "Measure": ("evaluate", "bench", "research"),
    "Manage": ("styles", "status", "doctor"),
}
"""What `fastnst --help` shows commands under, in this order."""

VERBOSE = "--verbose"
HELP_OF_ALL = (
    f"Every command takes {VERBOSE}: what computes and why, hashes, paths and other notes are then said too; "
    f"--help {VERBOSE} says more of each option."
)


@dataclass
class Call:
    """The command line that is being run."""

    tokens: list[str] = field(default_factory=list)
    verbose: bool = False

    @property
    def again(self) -> str:
        """The command that goes on with what this one leaves when it is stopped."""
        words, tokens = self.tokens, iter(self.tokens)
        if "never" in words and "--resume" in words:
            words = [token for token in tokens if token != "--resume" or next(tokens, "") != "never"]
        return shlex.join(["fastnst", *(word for word in words if word != "--resume=never")])


call = Call()

RESEARCH = {
    "study": "Draw contact sheets of the exact method, in which one thing changes.",
    "distill": "Make the compact loss network from VGG-19 (the package has one already).",
    "bench-optimize": "Time the exact method against plain L-BFGS.",
    "blind": "Write pairs of pictures without names, to judge by eye.",
    "blind-count": "Count the answers to such pairs.",
}
"""Commands below `research`."""

MODULES = {
    "status": "batch",
    "doctor": "installed",
    "styles": "installed",
    "coco": "train",
    "compare": "evaluate",
    "quantize": "export",
    "bench-optimize": "bench",
}
"""Where a command is that has no module of its name; those below `research` are in research.py."""

NEED_TRAINING = ("train", "optimize", "compare", "quantize", "evaluate", "research")
"""Commands that need what the extra `train` brings."""

NEED_MEMORY = {"stylize": (60, 620), "video": (60, 620), "webcam": (60, 620), "bench": (60, 620), "export": (60, 620)}
"""Megabytes of memory and of addresses that the libraries of a command take, measured with the smallest pictures."""

NEED_MEMORY |= dict.fromkeys(NEED_TRAINING, (420, 3200))

MOVED = ("study", "distill", "bench-optimize")
"""Commands that now stand below `research` and can still be called as before."""


SHOWN_FIRST = ("--style", "--content", "--name", "--output", "--budget", "--network", "--preset")
"""Options that the help of a command begins with, in this order; before them only those that are required."""


class HelpFormatter(DefaultFormatter):
    """Shows what is required, and what most people need, at the top of a group of options; a sentence on each."""

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Sort a group of options and show it."""
        if panel.format == "parameter":
            panel.entries[:] = [_plain_default(entry) for entry in sorted(panel.entries, key=_place)]
            for entry in panel.entries:
                _shorten(entry)
        super().__call__(console, options, panel)


_SENTENCES = re.compile(r"(?<=[^.\s]\.)(?<!e\.g\.)(?<!al\.) (?=[A-Z])")


def _shorten(entry: "HelpEntry") -> None:
    """Keep the first sentence of a setting's help text, and its default in words; all of it with --verbose.

    Its lines, which are indented as they stand in the code, are joined.
    """
    words = getattr(entry.description, "primary_renderable", None)
    if isinstance(words, Text) and isinstance(entry.description, InlineText):
        first, *others = _SENTENCES.split(" ".join(words.plain.split()))
        kept = others if call.verbose else [each for each in others if each.startswith("By default")]
        entry.description.primary_renderable = Text(" ".join([first, *kept]))


def _plain_default(entry: "HelpEntry") -> "HelpEntry":
    """Show a default of several as it is typed, and none that is empty or the absence of a flag."""
    if entry.default is None:
        return entry
    if several := re.fullmatch(r"[(\[](.*?),?[)\]]", entry.default):
        entry = entry.copy(default=several[1].replace("'", "").replace(",", ""))
    return entry.copy(default=None) if entry.default in ("", '""', "False") else entry


def _place(entry: "HelpEntry") -> tuple[bool, int]:
    named = [SHOWN_FIRST.index(name) for name in entry.names if name in SHOWN_FIRST]
    return not entry.required, min(named, default=len(SHOWN_FIRST))


FILLED_FROM_FILES = {
    ("train",): ("train", "apply_recipe"),
    ("optimize",): ("optimize", "apply_preset"),
    ("research", "distill"): ("research", "apply_distill_recipe"),
    ("research", "study"): ("research", "apply_study_preset"),
}
"""Module and function that give a command settings from its recipe, checkpoint or preset."""


def read_settings_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill the settings that a command line leaves out from its recipe, checkpoint or preset, for cyclopts."""
    if commands in FILLED_FROM_FILES:
        module, function = FILLED_FROM_FILES[commands]
        getattr(import_module(f"fastnst.cli.{module}"), function)(app, arguments)


app = App(
    name="fastnst",
    help="Neural style transfer: train a painting into a small network, run it in real time.",
    version=installed_version,
    help_format="plaintext",
    help_formatter=HelpFormatter(),
    group_parameters=Group("Basics", sort_key=-1),
    default_parameter=Parameter(negative_iterable=()),  # an option that empties a list helps nobody
    suppress_keyboard_interrupt=False,  # main says that it stopped
    help_epilogue=HELP_OF_ALL,
)
_group_of = {
    name: group
    for group, names in [(Group(title, sort_key=number), names) for number, (title, names) in enumerate(GROUPS.items())]
    for name in names
}
for name, summary in COMMANDS.items():
    place = GROUPS[_group_of[name].name].index(name)
    module = MODULES.get(name, name)
    app.command(f"fastnst.cli.{module}:{name}", name=name, help=summary, group=_group_of[name], sort_key=place)
research = App(
    name="research",
    help="Reproduce papers and the project's own figures; judge pictures by eye.",
    help_format="plaintext",
    group=_group_of["research"],
)
for name, summary in RESEARCH.items():
    research.command(f"fastnst.cli.{MODULES.get(name, 'research')}:{name.replace('-', '_')}", name=name, help=summary)
app.command(research)
_flags = Group("Options", sort_key=len(GROUPS))
for flag in (*app.help_flags, *app.version_flags):
    app[flag].group = _flags
app.config = [read_settings_file]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Exits with 0; 1 after an error that one line explains; 2 after a wrong option; 130 after Ctrl-C.
    """
    from fastnst.errors import FastNSTError  # noqa: PLC0415 - keeps --help quick

    tokens = sys.argv[1:] if arguments is None else arguments
    call.tokens, call.verbose = tokens, VERBOSE in _options(tokens)
    tokens = [token for place, token in enumerate(tokens) if token != VERBOSE or place >= len(_options(tokens))]
    try:
        _check_output(tokens)
        tokens = _moved(tokens)
        _check_command(tokens)
        _check_renamed(tokens)
        _check_installed(tokens)
        _check_memory(tokens)
        app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(_explain(error), status=2)
    except FastNSTError as error:
        _fail(str(error), status=1)
    except OSError as error:
        # A folder that may not be entered, a name too long: until Python 3.14 even Path.exists() raises these.
        place = "" if error.filename is None else f"{error.filename}: "
        _fail(f"{place}the system refuses ({error.strerror or error})", status=1)
    except (MemoryError, RuntimeError, ImportError) as error:
        if _is_mismatch(error):
            _fail(f"PyTorch and torchvision do not fit together ({error}); fastnst doctor says what mends it", status=1)
        if not isinstance(error, MemoryError) and not _is_out_of_memory(error):
            raise
        _fail("there is not enough memory; try a smaller picture, --size or --tile, or end other programs", status=1)
    except KeyboardInterrupt:
        _fail("stopped", status=130)


def _options(tokens: list[str]) -> list[str]:
    """The words before --, after which none is an option."""
    return tokens[: tokens.index("--")] if "--" in tokens else tokens


_NO_MEMORY = (
    *("can't allocate memory", "cannot allocate memory", "out of memory", "failed to allocate", "bad_alloc"),
    "failed to map segment",
)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether it is torch's or ONNX Runtime's way of saying so, or the system's that loads them."""
    words = str(error).lower()
    return any(sign in words for sign in _NO_MEMORY)


def _is_mismatch(error: Exception) -> bool:
    """Whether torchvision could not be loaded because it was built for another PyTorch."""
    return "torchvision::" in str(error) or (isinstance(error, ImportError) and "torchvision" in str(error))


def _check_output(tokens: list[str]) -> None:
    """Refuse an output without a name, which is often an unset variable's; as a path it would be the working folder."""
    for index, token in enumerate(tokens):
        if (token in ("-o", "--output") and tokens[index + 1 : index + 2] == [""]) or token in ("-o=", "--output="):
            _fail(f"{token.rstrip('=')} is empty; expected the name of a file or folder", status=2)


def _check_command(tokens: list[str]) -> None:
    """Name an unknown command at once; cyclopts would import all commands first, and torch with them."""
    called, known = "fastnst", [*COMMANDS, "research"]
    if tokens[:1] == ["research"]:
        called, known, tokens = "fastnst research", list(RESEARCH), tokens[1:]
    if tokens and not tokens[0].startswith("-") and tokens[0] not in known:
        from fastnst.errors import nearest_hint  # noqa: PLC0415

        _fail(f"no command {tokens[0]!r} (see {called} --help); {nearest_hint(tokens[0], known)}", status=2)


def _check_renamed(tokens: list[str]) -> None:
    """Say what an option of a former name is called now."""
    from fastnst.renamed import new_name  # noqa: PLC0415

    command = " ".join(tokens[: 2 if tokens[:1] == ["research"] else 1])
    for option in (token.partition("=")[0] for token in _options(tokens) if token.startswith("--")):
        now = new_name(command, option) or new_name(command, option.removeprefix("--no-"))
        if now is not None:
            _fail(f"{option} is now --{now}; see fastnst {command} --help", status=2)


def _check_installed(tokens: list[str]) -> None:
    """Say before any work that a command's packages are missing; its help can be read without them."""
    command = _working_command(tokens)
    if command and command[0] in NEED_TRAINING:
        from fastnst.machine import check_training_installed  # noqa: PLC0415

        check_training_installed(f"fastnst {' '.join(command)}")


def _check_memory(tokens: list[str]) -> None:
    """Say before any work that not even the command's libraries find room."""
    command = _working_command(tokens)
    if command and command[0] in NEED_MEMORY:
        from fastnst.machine import check_memory  # noqa: PLC0415

        resident, addresses = NEED_MEMORY[command[0]]
        check_memory(f"fastnst {' '.join(command)}", resident * 10**6, addresses * 10**6)


def _working_command(tokens: list[str]) -> list[str]:
    """The command that will do something, not only show its help; empty where there is none."""
    command = tokens[: 2 if tokens[:1] == ["research"] else 1]
    return [] if command == ["research"] or {"--help", "-h", "--version"} & set(tokens) else command


def _moved(tokens: list[str]) -> list[str]:
    """Let commands that moved below `research` go on under their old names, and say the new one."""
    if not tokens or tokens[0] not in MOVED:
        return tokens
    print(f"fastnst {tokens[0]} is now fastnst research {tokens[0]}", file=sys.stderr)
    return ["research", *tokens]


def _explain(error: CycloptsError) -> str:
    """Say in one line what is wrong with a command line."""
    words = _left_over(error) if isinstance(error, UnusedCliTokensError) else str(error)
    if isinstance(error, MissingArgumentError) and error.keyword is None and error.argument is not None:
        names = " or ".join(name for name in error.argument.names if name.startswith("-"))
        words = f"{names} is missing; expected it with a value." if names else words
    if isinstance(error, UnknownOptionError) and os.path.lexists(error.token.value):
        words += f" The file of this name is ./{error.token.value}."
    return f"{words} See {' '.join(('fastnst', *(error.command_chain or ())))} --help."


def _left_over(error: UnusedCliTokensError) -> str:
    """Words that belong to no option. Most often an option got several values, or a name with spaces has no quotes."""
    given, (first, *_) = error.root_input_tokens or [], error.unused_tokens or [""]
    before = given[: given.index(first)] if first in given else []
    value = before[-1] if before else ""
    option = next((word for word in reversed(before) if word.startswith("-")), None)
    if option is None:
        return f"{first!r} is left over: {_expected(error)}."
    if option == value or "=" in option:
        return f"{first!r} is left over: {option} takes no further value."
    if _takes_several(error, option):
        return f"{first!r} is left over: {option} takes one value at a time; write {option} {value} {option} {first}."
    return f"{first!r} is left over: {option} takes one value; put one with spaces into quotes."


def _expected(error: UnusedCliTokensError) -> str:
    commands = [name for name in error.app or () if not name.startswith("-")]
    return f"expected options, or a command ({', '.join(commands)})" if commands else "expected only options there"


def _takes_several(error: UnusedCliTokensError, option: str) -> bool:
    if error.app is None:
        return False
    arguments = error.app.assemble_argument_collection()
    return any(option in argument.names and argument.token_count()[1] for argument in arguments)


def _fail(message: str, status: int) -> None:
    from fastnst.errors import on_one_line  # noqa: PLC0415

    print(f"fastnst: {on_one_line(message)}", file=sys.stderr)
    sys.exit(status)
