"""What paints a film: the style's network, running as on the day when a stopped film was begun."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from fastnst.errors import SettingError
from fastnst.runtime.backend import ProviderChoice
from fastnst.runtime.film.plan import FilmPlan
from fastnst.runtime.session import Stylizer
from fastnst.runtime.video import painter_left


def painter_id(stylizer: Stylizer) -> dict[str, str]:
    """Name what painted levels depend on: the network, what computes it, and in which precision."""
    choice = stylizer.choice
    network = hashlib.sha256(stylizer.path.read_bytes()).hexdigest()
    return {"network": network, "provider": choice.provider, "precision": choice.precision}


@contextmanager
def as_begun(stylizer: Stylizer, plan: FilmPlan, *, threads: int | None = None) -> Iterator[Stylizer]:
    """Give the stylizer, or the same network on the provider with which a stopped job for this plan was begun.

    For what `auto` took: another day it may choose otherwise, and the film's parts would not match to the last bit.

    Args:
        stylizer: what `auto` took today.
        plan: the film.
        threads: as for the stylizer.

    Raises:
        SettingError: that provider or its precision is gone.
    """
    ours = painter_id(stylizer)
    begun = painter_left(plan) or ours
    if begun == ours or begun.get("network") != ours["network"]:
        yield stylizer
        return
    provider = cast(ProviderChoice, begun.get("provider", ""))
    try:
        other = Stylizer(stylizer.path, provider=provider, threads=threads)
    except SettingError as error:
        raise SettingError(f"{plan.output}: was begun elsewhere: {error}; --fresh paints it anew") from error
    with other:
        if painter_id(other) != begun:
            words = f"was begun on {provider} in {begun.get('precision')}, which is {other.choice.precision} today"
            raise SettingError(f"{plan.output}: {words}; --fresh paints it anew")
        yield other
