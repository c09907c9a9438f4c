"""Damaged and hostile checkpoints, recipes and command lines, as many as fit into a time: what breaks is said.

    python tools/fuzz_files.py        # 400 inputs of each part, at most 10 minutes; the seed is printed
    python tools/fuzz_files.py --parts recipes --inputs 5000 --seconds 600 --seed 7

Each input goes through `fastnst` in this process. It must end within 30 s of processor time with an exit status and at
most a few lines:
a traceback, a hang, or a change to the files that lie beside is printed with its number, by which `--only` repeats it,
and the exit status is 1.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from fastnst.cli import COMMANDS, RESEARCH, main
from fastnst.errors import FastNSTError
from fastnst.exact.checkpoint import load_checkpoint as load_optimization
from fastnst.exact.checkpoint import read_asked
from fastnst.exact.checkpoint import save_checkpoint as save_optimization
from fastnst.exact.optimizers import new_descent
from fastnst.exact.pyramid import plan_levels
from fastnst.exact.result import OptimizationRun, Step, Trace
from fastnst.exact.settings import OptimizeSettings
from fastnst.losses.compact import CompactFeatures
from fastnst.models.checkpoint import ModelInfo, build_network, read_safetensors, save_model
from fastnst.research.distill import DistillState, load_state, save_state
from fastnst.research.settings import DistillSettings
from fastnst.training.checkpoint import load_checkpoint, new_state, save_checkpoint
from fastnst.training.settings import TrainSettings, plain

LONGEST_S = 30
LOAD = "(load)"
"""Stands for a command that loads a training's checkpoint; `train` would go on to train."""

Make = Callable[[random.Random, Path], list[str]]
"""Writes one input into a folder, and gives the command line that reads it."""

# Values that a field, an option or a name may be given.
NASTY = [
    *("", " ", "\0", "-1", "0", "1e308", "1e999", "nan", "inf", "9" * 400, "true", "null", "[]", "{}", "[" * 3000),
    *(
        "/etc/passwd",
        "/dev/zero",
        "../victim",
        "a\x1b[31mb",
        "[/b]",
        "[red]",
        ":smile:",
        "caf\udce9",
        "%s%n",
        "a" * 300,
    ),
    *("%0999999999d.png", "pipe", ".", "..", "~", "--", "-o", "@", "a@b:c", "red=a,blue=b", "1:2:3", "0x10", "10**9"),
    *("\u202e", "victim"),
]


def prepare(folder: Path) -> None:
    """Write the inputs that are damaged afterwards, and what nobody may touch."""
    picture = np.random.default_rng(0).integers(0, 256, (80, 96, 3), np.uint8)
    Image.fromarray(picture).save(folder / "picture.png")
    (folder / "victim").mkdir()
    (folder / "victim" / "notes.txt").write_text("mine")
    os.mkfifo(folder / "pipe")
    spec: dict[str, int | str] = {"kind": "johnson", "width": 2, "blocks": 1}
    save_model(folder / "model", build_network(spec), ModelInfo("waves", spec, "drawn"))
    settings = TrainSettings(style=(folder / "picture.png",), width=2, blocks=1, content="missing", workers=0)
    save_checkpoint(folder / "checkpoint", new_state(settings, torch.device("cpu")), plain(settings), "abc")
    given = OptimizeSettings(size=16, steps=4, optimizer="adam")
    run = OptimizationRun(plan_levels(given), new_descent(given))
    image = torch.rand(1, 3, 12, 16)
    for number in (1, 2):
        image = run.descent.propose(image, 3.0 - number, torch.rand(1, 3, 12, 16))
    run.trace = Trace([Step(number, 1.0, 2.0, 3.0, 0.0, 0.1, 16) for number in (1, 2)], image)
    run.done, run.image = 2, image
    save_optimization(folder / "optimization", run, {"settings": {}})
    save_state(folder / "distillation", DistillState(CompactFeatures()), DistillSettings(paintings=folder))
    recipe = {"style": str(folder / "picture.png"), "content": "missing", "steps": 3, "workers": 0}
    (folder / "recipe").write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in recipe.items()))


def damage_bytes(lots: random.Random, content: bytes) -> bytes:
    """Turn, cut, repeat or insert a few bytes."""
    found = bytearray(content)
    for _ in range(lots.randint(1, 8)):
        place = lots.randrange(len(found) + 1)
        match lots.randrange(5):
            case 0:
                del found[place:]
            case 1:
                found[place : place + lots.randint(1, 40)] = b""
            case 2:
                found[place:place] = lots.randbytes(lots.randint(1, 40))
            case 3:
                found[place : place + 1] = bytes([lots.randrange(256)])
            case _:
                found[place:place] = found[: lots.randint(1, 200)]
    return bytes(found)


def damage_json(lots: random.Random, text: str) -> str:
    """Put something nasty into a place of a JSON object."""
    table = json.loads(text)
    place = table
    while isinstance(place, dict) and place:
        name = lots.choice(list(place))
        if isinstance(place[name], dict) and lots.random() < 0.7:
            place = place[name]
            continue
        wrong = [*NASTY, None, -1, 10**9, 10**30, 1.5, float("nan"), [], {}, [[]], {"a": 1}, True]
        match lots.randrange(3):
            case 0:
                del place[name]
            case 1:
                place[lots.choice(NASTY)] = lots.choice(wrong)
            case _:
                place[name] = lots.choice(wrong)
        break
    return json.dumps(table)


def damage_tensors(lots: random.Random, source: Path, target: Path) -> None:
    """Damage a safetensors file: its bytes, its tensors, or what it says of itself."""
    if lots.random() < 0.3:
        target.write_bytes(damage_bytes(lots, source.read_bytes()))
        return
    tensors, metadata = read_safetensors(source)
    name = lots.choice(sorted(tensors))
    key = lots.choice(sorted(metadata))
    match lots.randrange(6):
        case 0:
            del tensors[name]
        case 1:
            tensors[name] = torch.zeros([lots.randrange(4) for _ in range(lots.randrange(5))])
        case 2:
            tensors[name] = tensors[name].to(lots.choice([torch.float64, torch.int64, torch.uint8, torch.bool]))
        case 3:
            del metadata[key]
        case 4:
            metadata[key] = lots.choice(NASTY).replace("\udce9", "")
        case _:
            with contextlib.suppress(ValueError):
                metadata[key] = damage_json(lots, metadata[key])
    save_file({name: value.contiguous() for name, value in tensors.items()}, target, metadata)


def checkpoints(lots: random.Random, folder: Path) -> list[str]:
    """A damaged checkpoint of a training, loaded or resumed; or a damaged model, exported."""
    if lots.random() < 0.5:
        (folder / "run").mkdir()
        damage_tensors(lots, folder / "checkpoint", folder / "run" / "checkpoint.safetensors")
        if lots.random() < 0.7:
            return [LOAD, str(folder / "run" / "checkpoint.safetensors")]
        return ["train", "--resume", str(folder / "run"), "--content", "missing"]
    damage_tensors(lots, folder / "model", folder / "run.safetensors")
    return ["export", str(folder / "run.safetensors"), "-o", str(folder / "run.onnx"), "--overwrite"]


def optimizations(lots: random.Random, folder: Path) -> list[str]:
    """A damaged checkpoint of an optimisation, loaded or read as `optimize --resume` does, or one of a distillation."""
    kind = lots.choice(["optimization", "distillation"])
    (folder / "run").mkdir()
    damage_tensors(lots, folder / kind, folder / "run" / "checkpoint.safetensors")
    if kind == "distillation" and lots.random() < 0.3:
        return [
            "research",
            "distill",
            "--resume",
            str(folder / "run"),
            "--content",
            "missing",
            "--paintings",
            "missing",
        ]
    return [LOAD, str(folder / "run" / "checkpoint.safetensors"), kind]


def recipes(lots: random.Random, folder: Path) -> list[str]:
    """A damaged recipe."""
    content = (folder / "recipe").read_bytes()
    if lots.random() < 0.4:
        content = damage_bytes(lots, content)
    else:
        names = ["name", "style", "content", "network", "budget", "init_from", "teacher", "output", "resume", "width"]
        value = lots.choice(
            [*map(json.dumps, NASTY), "-1", "1e308", "nan", "[1]", "{a = 1}", "10000000000000000000000"]
        )
        content += f"\n{lots.choice(names)} = {value}".encode(errors="replace")
    (folder / "run.toml").write_bytes(content)
    return ["train", "--recipe", str(folder / "run.toml"), "--content", "missing", "-o", str(folder / "run")]


OPTIONS = ["-o", "--style", "--size", "--mix", "--strength", "--mask", "--region", "--tile", "--threads", "--provider"]
OPTIONS += [
    "--steps",
    "--seed",
    "--workers",
    "--resume",
    "--recipe",
    "--name",
    "--budget",
    "--start",
    "--end",
    "--fps",
    "--init-from",
]
OPTIONS += ["--crf", "--codec", "--log-dir", "--json", "--init", "--content-mask", "--overwrite", "--damaged"]


def command_lines(lots: random.Random, folder: Path) -> list[str]:
    """Any command with any options; none has what it needs to work for long."""
    command = lots.choice(
        [*(name for name in COMMANDS if name not in ("coco", "webcam", "bench", "doctor")), *RESEARCH]
    )
    words = ["research", command] if command in RESEARCH else [command]
    for _ in range(lots.randint(0, 5)):
        if lots.random() < 0.7:
            words.append(lots.choice(OPTIONS))
        words.append(lots.choice([*NASTY, str(folder / "picture.png"), str(folder / "victim"), str(folder / "pipe")]))
    # Whatever else is asked for: no photographs, so that no training and no download begins.
    return [word for word in words if "\0" not in word] + ["--content", "missing"]


PARTS: dict[str, Make] = {
    "checkpoints": checkpoints,
    "optimizations": optimizations,
    "recipes": recipes,
    "command-lines": command_lines,
}


ORIGINALS = ["picture.png", "model", "checkpoint", "optimization", "distillation"]


def seen(folder: Path) -> str:
    """What lies in the folder that nobody may touch, and the originals, as one hash."""
    found = hashlib.sha256()
    for path in sorted([*(folder / "victim").rglob("*"), *map(folder.joinpath, ORIGINALS)]):
        found.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return found.hexdigest()


class HangError(BaseException):
    """It took too long; no Exception, so that nothing catches it on the way."""


def alarm(*_: object) -> None:
    """Ends what hangs."""
    raise HangError


def run(words: list[str]) -> tuple[int, str]:
    """Call the command line; returns its status and what it printed. Anything but SystemExit is what is looked for."""
    printed = io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    signal.alarm(4 * LONGEST_S)
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            if words[0] == LOAD:
                load(Path(words[1]), *words[2:])
            main(words)
    except SystemExit as ended:
        return int(ended.code or 0), printed.getvalue()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return 0, printed.getvalue()


def load(path: Path, kind: str = "training") -> None:
    """Load a checkpoint as `--resume` does, and end as it would."""
    try:
        if kind == "training":
            settings = TrainSettings(style=(Path("picture.png"),), width=2, blocks=1, init_from="none")
            load_checkpoint(path, new_state(settings, torch.device("cpu")))
        elif kind == "optimization":
            asked = OptimizeSettings(size=16, steps=4, optimizer="adam")
            read_asked(path)
            load_optimization(path, plan_levels(asked), new_descent(asked), torch.device("cpu"))
        else:
            load_state(path)
    except FastNSTError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


def one(part: str, seed: str, folder: Path) -> str | None:
    """Try one input; returns what is wrong with its end, or None."""
    before = seen(folder)
    words = PARTS[part](random.Random(seed), folder)
    wrong = None
    try:
        _, said = run(words)
        wrong = "a traceback was printed" if "Traceback" in said else None
        wrong = "an escape code was printed" if "\x1b" in said else wrong
    except HangError:
        wrong = f"more than {LONGEST_S} s of processor time, or four times as long"
    except BaseException:
        wrong = traceback.format_exc(limit=-3).strip()
    if seen(folder) != before:
        wrong = f"files were changed that are not its own; {wrong or ''}"
    return None if wrong is None else f"{' '.join(map(ascii, words))}\n    {wrong}"


def clean(folder: Path) -> None:
    """Remove what the input and the command left."""
    for path in sorted(folder.glob("run*"), reverse=True):
        for below in [*sorted(path.rglob("*"), reverse=True), path] if path.is_dir() else [path]:
            below.rmdir() if below.is_dir() else below.unlink()


def fuzz() -> int:
    """Try all inputs; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--inputs", type=int, default=400, help="inputs of each part")
    parser.add_argument("--seconds", type=float, default=600, help="for all of them")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", help="repeat one input by its number, as it is printed: PART/NUMBER")
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGPROF, alarm)
    os.environ["FASTNST_STYLES"] = "styles"
    finds = tried = 0
    until = time.monotonic() + given.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        os.chdir(folder)
        print(f"seed {given.seed}")
        numbers = [(part, number) for number in range(given.inputs) for part in given.parts]
        if given.only:
            part, number = given.only.split("/")
            numbers = [(part, int(number))]
        for part, number in numbers:
            if time.monotonic() > until:
                break
            tried += 1
            wrong = one(part, f"{given.seed}/{part}/{number}", folder)
            clean(folder)
            if wrong is not None:
                finds += 1
                print(f"{part}/{number}: {wrong}", flush=True)
    print(f"{tried} inputs, {finds} finds, {given.seconds - (until - time.monotonic()):.0f} s")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(fuzz())
