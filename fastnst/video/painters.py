"""What paints films: networks with all that a look asks for, running as on the day when a stopped film was begun."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self, cast

from fastnst.backends.backend import ProviderChoice
from fastnst.errors import SettingError
from fastnst.inference.effects import LookSettings
from fastnst.inference.fitting import TileChoice
from fastnst.inference.painter import LookPainter
from fastnst.video.plan import FilmPlan
from fastnst.video.stylize import painter_left


class FilmPainters:
    """Gives each film its painter; use it in a `with` block."""

    def __init__(
        self,
        style: str | None,
        look: LookSettings,
        *,
        provider: ProviderChoice = "auto",
        threads: int | None = None,
        tile: TileChoice = "auto",
    ) -> None:
        """Load styles and mask; arguments and errors as for a `LookPainter`."""
        self._open = partial(LookPainter, style, look, threads=threads, tile=tile)
        self._free = provider == "auto"
        self._painter = self._open(provider=provider)

    @contextmanager
    def painter_for(self, plan: FilmPlan) -> Iterator[LookPainter]:
        """Give what paints this film: with `auto` and a stopped job, what that was begun with.

        `auto` may choose otherwise today, and the film's parts would not match to the last bit.

        Raises:
            SettingError: the provider of that day or its precision is gone.
        """
        ours = painter_id(self._painter)
        begun = painter_left(plan) or ours
        if not self._free or begun == ours or begun.get("look") != ours["look"]:
            yield self._painter
            return
        provider = cast(ProviderChoice, begun.get("provider", ""))
        try:
            other = self._open(provider=provider)
        except SettingError as error:
            raise SettingError(f"{plan.output}: was begun elsewhere: {error}; --fresh paints it anew") from error
        with other:
            if painter_id(other) != begun:
                words = f"was begun on {provider} in {begun.get('precision')}, which is {other.choice.precision} today"
                raise SettingError(f"{plan.output}: {words}; --fresh paints it anew")
            yield other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._painter.close()


def painter_id(painter: LookPainter) -> dict[str, str]:
    """Name what painted levels depend on: networks, strength and the like; what computes, and in which precision."""
    choice = painter.choice
    look = painter.identity.replace(f" on {choice.provider}", "")
    return {"look": look, "provider": choice.provider, "precision": choice.precision}
