"""fastnst: neural style transfer, the fast and the exact way.

from fastnst import Stylizer, read_frame
painted = Stylizer("starry")(read_frame("photo.jpg"))

Names are imported when they are first used: painting needs no torch, and `fastnst --help` needs neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnst.errors import FastNSTError
    from fastnst.images import Picture, read_frame, read_picture, write_picture
    from fastnst.runtime.session import Stylizer
    from fastnst.styles import find_style, installed_styles

__all__ = [
    "FastNSTError",
    "Picture",
    "Stylizer",
    "find_style",
    "installed_styles",
    "read_frame",
    "read_picture",
    "write_picture",
]

_HOMES = {
    "FastNSTError": "fastnst.errors",
    "Picture": "fastnst.images",
    "Stylizer": "fastnst.runtime.session",
    "find_style": "fastnst.styles",
    "installed_styles": "fastnst.styles",
    "read_frame": "fastnst.images",
    "read_picture": "fastnst.images",
    "write_picture": "fastnst.images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastnst' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
