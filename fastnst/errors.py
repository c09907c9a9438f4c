"""Every error that a user can cause, as one tree.

FastNSTError
|-- InputError        a picture, folder or film that cannot be read or used
|-- OutputError       a result that cannot be written, or would overwrite something
|-- SettingError      a setting with an impossible or unknown value
|-- StyleError        a style that is not there, or a network file that is not one of ours
|-- WeightsError      loss-network weights that are missing, damaged or of the wrong shape
|-- CheckpointError   a checkpoint that cannot be used to go on
|-- DownloadError     something that could not be fetched whole
|-- DivergedError     an optimisation or a training that left the finite numbers
`-- MissingPackageError  a package that a part of fastnst needs and that is not installed; also an ImportError

Each message says in one line what was given, what was expected and what to do. The command line prints
it without a traceback and exits with status 1.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

# Line ends, what moves a terminal's cursor, and the halves of letters that stand for bytes which are no text.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def on_one_line(text: str) -> str:
    """Write line ends and control characters as \\n or \\x1b: a file's name may hold them, and a message shows it."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class FastNSTError(Exception):
    """Base of all errors that fastnst raises on purpose.

    Examples:
        >>> try:
        ...     raise InputError("photo.jpg: no such file")
        ... except FastNSTError as error:
        ...     print(error)
        photo.jpg: no such file
    """

    def __str__(self) -> str:
        return on_one_line(super().__str__())


class InputError(FastNSTError):
    """A picture, folder or film that cannot be read or used."""


class OutputError(FastNSTError):
    """A result that cannot be written, or would overwrite something."""


class SettingError(FastNSTError):
    """A setting with an impossible or unknown value."""


class StyleError(FastNSTError):
    """A style that is not there, or a network file that is not one of ours."""


class WeightsError(FastNSTError):
    """Loss-network weights that are missing, damaged or of the wrong shape."""


class CheckpointError(FastNSTError):
    """A checkpoint that cannot be used to go on."""


class DownloadError(FastNSTError):
    """Something that could not be fetched whole."""


class DivergedError(FastNSTError):
    """An optimisation or a training that left the finite numbers."""


class MissingPackageError(FastNSTError, ImportError):
    """A package that a part of fastnst needs and that is not installed."""


def nearest_hint(given: str, known: Iterable[str]) -> str:
    """Return `did you mean X?`, or the known words where none is near."""
    words = sorted(known)
    lower = {word.lower(): word for word in words}
    near = get_close_matches(given.lower(), lower, n=1)
    return f"did you mean {lower[near[0]]!r}?" if near else f"known: {', '.join(words) or 'none'}"
