"""What is said to a command line that cannot be read: what was given, what was expected, what to do."""

import os

from cyclopts import CycloptsError, UnknownOptionError, UnusedCliTokensError


def explain(error: CycloptsError) -> str:
    """Say in one line what is wrong with a command line."""
    words = _left_over(error) if isinstance(error, UnusedCliTokensError) else str(error)
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
