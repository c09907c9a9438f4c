"""What the page can have this machine do, each in a process of its own: films, pictures of any size, training."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from fastnst.backends.contract import ProviderChoice
from fastnst.errors import FastNSTError, InputError
from fastnst.inference.paintings import Quality, choose_refinement

if TYPE_CHECKING:
    from fastnst.inference.effects import Effects

Kind: TypeAlias = Literal["film", "picture", "train"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST_TRAINING_S = 24 * 3600

Report: TypeAlias = Callable[[float, str], None]
"""Called with the share that is done, 0 to 1, and a line for the user."""


@dataclass(frozen=True)
class Work:
    """One piece of work, as the page asked for it."""

    kind: Kind
    source: Path
    """What was uploaded: a film, a picture, a painting to learn."""

    output: Path
    """The result, which does not exist yet; of a training, its ONNX file."""

    style: str = ""
    """Name of an installed style, or an ONNX file, perhaps with a mix; of a training, empty."""

    quality: Quality = "draft"
    """Of a picture: how far it is refined after the network."""

    strength: float = 1.0
    input_noise: float | Literal["auto"] = "auto"
    preserve_color: bool = False
    seconds: float = 60.0
    """Of a training."""

    content: Path | None = None
    """Of a training: folder of photographs; None: COCO's if they are there, else the samples."""

    provider: ProviderChoice = "auto"
    threads: int | None = None


def do(work: Work, send: Callable[[Mapping[str, Any]], None]) -> None:
    """Do a piece of work in this process; what happens is sent as `share` and `words`, at last `done` or `error`."""
    latest = 0.0

    def report(share: float, words: str) -> None:
        nonlocal latest
        if time.monotonic() - latest > 0.2:
            latest = time.monotonic()
            send({"share": min(1.0, share), "words": words})

    try:
        words = _WORKERS[work.kind](work, report)
    except FastNSTError as error:
        send({"error": str(error)})
    except OSError as error:
        send({"error": f"the system refuses ({error.strerror or error})"})
    except (MemoryError, RuntimeError) as error:
        send({"error": f"it could not be done ({str(error).splitlines()[0][:200] if str(error) else 'no memory'})"})
    else:
        send({"done": words})


def _film(work: Work, report: Report) -> str:
    from fastnst.inference.pipeline import StylePipeline  # noqa: PLC0415
    from fastnst.video.plan import plan_film  # noqa: PLC0415
    from fastnst.video.stylize import FilmProgress, stylize_film  # noqa: PLC0415

    plan = plan_film(work.source, work.output)

    def show(progress: FilmProgress) -> None:
        total = progress.total or progress.done
        report(progress.done / total, f"{progress.done} of {total} frames")

    effects = _effects(work).of_film()
    with StylePipeline(work.style, effects, provider=work.provider, threads=work.threads) as pipeline:
        result = stylize_film(pipeline, plan, on_progress=show)
    return f"{result.frames} frames in {result.elapsed_s:.0f} s on {result.choice.provider}"


def _effects(work: Work) -> "Effects":
    from fastnst.inference.effects import Effects  # noqa: PLC0415

    return Effects(strength=work.strength, input_noise=work.input_noise, preserve_color=work.preserve_color)


def _picture(work: Work, report: Report) -> str:
    from fastnst.batch.jobs import Job  # noqa: PLC0415
    from fastnst.batch.run import Task  # noqa: PLC0415
    from fastnst.inference.batch import stylize_file  # noqa: PLC0415
    from fastnst.inference.pipeline import StylePipeline  # noqa: PLC0415

    began, effects = time.monotonic(), _effects(work)
    task = Task(Job(str(work.source), work.output.name), str(work.output), replace=False)
    refinement = choose_refinement(work.quality, None, None)
    words = f"{refinement.steps} steps of refinement" if refinement.steps else "stylizing in tiles"
    with StylePipeline(
        work.style, effects, provider=work.provider, threads=work.threads, refine=refinement
    ) as pipeline:
        pipeline.on_progress(lambda share: report(share, words))
        report(0.0, "reading it")
        stylize_file(pipeline, task, describe=pipeline.describe)
    return f"stylized in {time.monotonic() - began:.1f} s"


def _train(work: Work, report: Report) -> str:
    from fastnst.inference.style_files import add_style  # noqa: PLC0415
    from fastnst.io.styles import LIVE, bundled_models, network_of_style  # noqa: PLC0415
    from fastnst.models.checkpoint import load_model  # noqa: PLC0415 - imports torch
    from fastnst.training.engine import TrainCallbacks, TrainProgress  # noqa: PLC0415
    from fastnst.training.settings import TrainSettings  # noqa: PLC0415
    from fastnst.training.train import train  # noqa: PLC0415

    began, content = time.monotonic(), _content(work)
    name, starts = work.output.stem, [bundled_models() / f"{network_of_style(live)}.safetensors" for live in LIVE]
    # From nothing, a minute brings spots.
    start = next(path for path in starts if path.is_file())
    size = load_model(start)[1].network
    settings = TrainSettings(
        style=(work.source,),
        name=name,
        content=str(content),
        network="live",
        width=int(size["width"]),
        blocks=int(size["blocks"]),
        budget=f"{round(work.seconds)}s",
        workers=0,
        init_from=start,
    )

    def show(progress: TrainProgress) -> None:
        share = max(progress.done, (time.monotonic() - began) / work.seconds)
        report(min(share, 0.99), f"step {progress.step}, {progress.images_per_s:.1f} pictures a second")

    folder = work.output.with_suffix("")
    trained = train(settings, folder, content=content, callbacks=TrainCallbacks(on_step=show), began=began)
    if trained.files is None:
        raise InputError("nothing came of the training")
    added = add_style(trained.files.onnx, name, overwrite=False)
    return f"{trained.result.steps} steps in {trained.result.elapsed_s:.0f} s; kept as {added.name}"


def _content(work: Work) -> Path:
    from fastnst.io.styles import sample_picture  # noqa: PLC0415
    from fastnst.training.photographs import default_root  # noqa: PLC0415

    if work.content is not None:
        return work.content
    for split in ("val2017", "train2017"):
        if (default_root() / split).is_dir():
            return default_root() / split
    sample = sample_picture()
    if sample is None:
        raise InputError("no photographs to learn from; start fastnst web --native with --content DIR")
    return sample.parent


_WORKERS: dict[Kind, Callable[[Work, Report], str]] = {
    "film": _film,
    "picture": _picture,
    "train": _train,
}
