"""How a checkout is built: files, lines, class names that stand twice, cycles, and how far commands are from the work.

    python tools/structure.py ../before . [--no-calls]

Prints one column for each checkout. Classes are those at the top of modules. Imports for type checkers alone do not
count. "Against the best order": imports of one package by another that remain when the packages are sorted so that as
few as possible go up. "Outside the table": those that the checkout's own tests/test_architecture.py does not allow.

Calls are counted in a tiny run of each command, in a process of its own: functions of fastnst on the stack from the
command's own function to the back-end's `run`, or to the one that computes a Gram matrix, where that is what style is
compared by. Of all such stacks the most frequent counts, so that trial runs and the style picture's own statistics do
not. A thread's stack is continued by the stack that started the thread.
"""

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Edges = dict[str, set[str]]
RUNS = ("photo", "film", "camera", "train", "optimize")


# Files, classes, imports.


def modules_of(checkout: Path) -> dict[str, Path]:
    """The package's modules by full name."""
    found = {}
    for path in sorted((checkout / "fastnst").rglob("*.py")):
        parts = path.relative_to(checkout).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def lines_of(folder: Path) -> int:
    """Lines of all Python files below a folder."""
    return sum(len(path.read_text("utf-8").splitlines()) for path in folder.rglob("*.py"))


def repeated_classes(modules: dict[str, Path]) -> dict[str, int]:
    """Names of classes that stand in several modules, with how many."""
    names: Counter[str] = Counter()
    for path in modules.values():
        names.update(node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef))
    return {name: count for name, count in names.items() if count > 1}


def imports_of(modules: dict[str, Path]) -> Edges:
    """What each module imports of the package, at its top or inside a function."""
    return {name: set(_imports(ast.parse(path.read_text("utf-8")), modules)) - {name} for name, path in modules.items()}


def _imports(tree: ast.AST, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for one in full for name in (one, str(node.module)) if name in modules)
        else:
            yield from _imports(node, modules)


def crossings(imports: Edges, modules: dict[str, Path]) -> Counter[tuple[str, str]]:
    """Imports of one package by another, counted by module: every folder is a package, and so is a module right below.

    Names are without fastnst; what lies in it itself, as `fastnst.errors`, may be imported by all.
    """

    def package(name: str) -> str:
        inner = name.split(".")[1:]
        return ".".join(inner if modules[name].name == "__init__.py" or len(inner) == 1 else inner[:-1])

    counted: Counter[tuple[str, str]] = Counter()
    for module, others in imports.items():
        # Of `from fastnst.a import b` the module b counts, not also the package a.
        named = {other for other in others if not any(one.startswith(f"{other}.") for one in others)}
        for other in {package(one) for one in named} - {package(module), "", "errors"}:
            if package(module):
                counted[package(module), other] += 1
    return counted


def cycles_of(edges: Edges) -> list[list[str]]:
    """Sets of nodes that reach each other, of more than one node (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in number:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            place = stack.index(node)
            component = stack[place:]
            del stack[place:]
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for node in edges:
        if node not in number:
            visit(node)
    return found


def against_the_best_order(counted: Counter[tuple[str, str]]) -> int:
    """Fewest imports that go up, over all orders of the packages: a minimum feedback arc set, cycle by cycle."""
    edges: Edges = {}
    for (source, target), _ in counted.items():
        edges.setdefault(source, set()).add(target)
    return sum(_fewest_up(cycle, counted) for cycle in cycles_of(edges))


def _fewest_up(nodes: list[str], counted: Counter[tuple[str, str]]) -> int:
    weights = [[counted[source, target] for target in nodes] for source in nodes]
    best = [0] + [-1] * (2 ** len(nodes) - 1)
    for below in range(2 ** len(nodes)):
        for node in range(len(nodes)):
            if not below >> node & 1:
                # What `below` imports of a node above them goes up.
                up = sum(weights[other][node] for other in range(len(nodes)) if below >> other & 1)
                cost, after = best[below] + up, below | 1 << node
                if best[after] < 0 or cost < best[after]:
                    best[after] = cost
    return best[-1]


def outside_the_table(checkout: Path, imports: Edges) -> str:
    """Imports between packages that tests/test_architecture.py does not allow, and those that it excuses by name."""
    file = checkout / "tests" / "test_architecture.py"
    if not file.is_file():
        return "no table"
    scope: dict[str, Any] = {"__file__": str(file)}
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            exec(compile(ast.Module([node], []), str(file), "exec"), {"Path": Path, **scope}, scope)
    table: dict[str, set[str]] = scope["MAY_IMPORT"]
    outside = {
        (module, below)
        for module, others in imports.items()
        for below in {other.split(".")[1] for other in others if "." in other}
        for above in [module.partition(".")[2].split(".")[0]]
        if above in table and below in table and below != above and below not in table[above]
    }
    excused = outside & scope.get("KNOWN", set())
    return f"{len(outside) - len(excused)}, {len(excused)} excused"


# Calls, in a process of their own.


class CallCounter:
    """Notes the stack of fastnst's functions at each entry of a function that is looked for."""

    def __init__(self, wanted: Callable[[CodeType], bool]) -> None:
        self.stacks: Counter[tuple[str, ...]] = Counter()
        self._wanted = wanted
        self._began_by: dict[int, tuple[str, ...]] = {}

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Profile one call."""
        if event != "call":
            return
        code = frame.f_code
        if code.co_name == "start" and code.co_filename.endswith("threading.py"):
            self._began_by[id(frame.f_locals["self"])] = self._stack(frame)
        elif self._wanted(code):
            self.stacks[self._stack(frame)] += 1

    def _stack(self, frame: FrameType | None) -> tuple[str, ...]:
        inner: list[str] = []
        while frame is not None:
            code = frame.f_code
            file = Path(code.co_filename)
            if "fastnst" in file.parts and not code.co_name.startswith("<"):
                inner.append(f"{'/'.join(file.parts[-2:])}:{code.co_name}")
            elif code.co_name == "_bootstrap_inner":
                inner += reversed(self._began_by.get(id(frame.f_locals["self"]), ()))
            frame = frame.f_back
        return tuple(reversed(inner))


def trace(run: str) -> list[str]:
    """Functions of fastnst from a command's own to the network or the Gram matrix, in a tiny run in this folder."""
    from fastnst.cli import main  # noqa: PLC0415 - of the checkout that PYTHONPATH names

    network = run in ("photo", "film", "camera")
    _write_inputs()

    def wanted(code: CodeType) -> bool:
        if network:
            return code.co_name == "run" and code.co_filename.endswith("onnxruntime_inference_collection.py")
        return code.co_name == "gram_matrix"

    counter = CallCounter(wanted)
    arguments = _arguments(run)
    threading.setprofile(counter)
    sys.setprofile(counter)
    try:
        main(arguments)
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    deepest = max(counter.stacks, key=lambda stack: (counter.stacks[stack], len(stack)))
    stack = [place for place in deepest if not place.startswith(("cli/__init__.py:", "fastnst/__main__.py:"))]
    return to_the_backend(stack) if network else stack[:-1]


def to_the_backend(stack: list[str]) -> list[str]:
    """The calls up to the back-end's `run`: what it does inside is its own affair."""
    ends = (place for place in stack if re.search(r"(backends|runtime)/\w+\.py:run$", place))
    return stack[: stack.index(next(ends, stack[-1])) + 1]


def _arguments(run: str) -> list[str]:
    tiny = ["--content-layers", "relu2_1", "--style-layers", "relu1_1", "--style-layers", "relu2_1"]
    tiny += ["--loss-weights", "weights.safetensors", "--precision", "float32", "--style", "style.png"]
    style = ["--style", "invert.onnx", "--provider", "cpu"]
    if run == "train":
        options = _options("train")
        batch, crop = (
            name if name in options else name.removesuffix("-size") for name in ("--batch-size", "--crop-size")
        )
        sizes = ["--width", "2", "--blocks", "1", "--steps", "6", batch, "2", crop, "64", "--style-size", "64"]
        statistic = ["--style-statistic", "gram"] if "--style-statistic" in options else []
        return ["train", *tiny, *statistic, *sizes, "--content", "photos", "--workers", "0", "-o", "run"]
    return {
        "photo": ["stylize", *(f"photos/{number}.png" for number in range(4)), *style, "-o", "painted"],
        "film": ["video", "film.mp4", *style, "-o", "painted.mp4"],
        "camera": ["webcam", "--source", "film.mp4", *style, "--no-window", "--frames", "4", "--record", "painted.mp4"],
        "optimize": ["optimize", "photos/0.png", *tiny, "--steps", "3", "--size", "48", "-o", "painted.png"],
    }[run]


def _options(command: str) -> str:
    words = [sys.executable, "-m", "fastnst", command, "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _write_inputs() -> None:
    import av  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import onnx  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    generator = np.random.default_rng(0)
    Path("photos").mkdir()
    for number in range(4):
        Image.fromarray(generator.integers(0, 256, (72, 96, 3), np.uint8)).save(f"photos/{number}.png")
    Image.fromarray(generator.integers(0, 256, (80, 96, 3), np.uint8)).save("style.png")
    invert = """<ir_version: 8, opset_import: ["" : 17]>
    g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> {
    stylized = Sub(white, frame) }"""
    model = onnx.parser.parse_model(invert)
    onnx.helper.set_model_props(
        model,
        {"fastnst_format": "1", "style": "inverted", "network": "invert", "licence": "MIT", "layout": "nhwc-uint8"},
    )
    onnx.save(model, "invert.onnx")
    state = {}
    for index, (inputs, outputs) in {0: (3, 64), 2: (64, 64), 5: (64, 128)}.items():
        state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.bias"] = torch.zeros(outputs)
    save_file(state, "weights.safetensors", metadata={"normalization": "torchvision"})
    with av.open("film.mp4", "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(12):
            picture = np.full((64, 96, 3), 20 * number, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode())


def calls(checkout: Path, run: str) -> list[str]:
    """What `trace` gives for a checkout; empty, with the reason on stderr, where the run fails."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(Path(__file__).resolve()), "--trace", run]
        found = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if found.returncode:
        print(f"{checkout}: {run}: {found.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return []
    return list(json.loads(found.stdout.splitlines()[-1]))


def figures(checkout: Path, *, with_calls: bool) -> dict[str, str]:
    """Every figure of a checkout by its name."""
    modules = modules_of(checkout)
    imports = imports_of(modules)
    counted = crossings(imports, modules)
    packages: Edges = {}
    for source, target in counted:
        packages.setdefault(source, set()).add(target)
    repeated = repeated_classes(modules)
    rows = {
        "files of the package": str(len(modules)),
        "of these under 40 lines": str(sum(lines_of_file(path) < 40 for path in modules.values())),
        "lines of the package": str(lines_of(checkout / "fastnst")),
        "lines of the tests": str(lines_of(checkout / "tests")),
        "lines of tools": str(lines_of(checkout / "tools")),
        "class names that stand twice": str(len(repeated)),
        "cycles of modules": str(len(cycles_of(imports))),
        "cycles of packages": str(len(cycles_of(packages))),
        "imports against the best order": str(against_the_best_order(counted)),
        "imports outside the table": outside_the_table(checkout, imports),
    }
    if repeated:
        print(f"{checkout}: twice: {', '.join(f'{name} {count}' for name, count in sorted(repeated.items()))}")
    if with_calls:
        for run in RUNS:
            stack = calls(checkout, run)
            rows[f"calls, {run}"] = str(len(stack)) if stack else "failed"
            print(f"{checkout}: {run}: {' > '.join(stack)}")
    return rows


def lines_of_file(path: Path) -> int:
    """Lines of one file; an empty one, or a package's docstring alone, counts as 40: no one would look for less."""
    lines = len(path.read_text("utf-8").splitlines())
    return 40 if path.name in ("__init__.py", "__main__.py") else lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path()])
    parser.add_argument("--no-calls", action="store_true", help="only what can be read, nothing is run")
    parser.add_argument("--trace", choices=RUNS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.trace:
        print(json.dumps(trace(given.trace)))
        return
    columns = [figures(checkout, with_calls=not given.no_calls) for checkout in given.checkouts]
    width = max(map(len, columns[0]))
    print(" " * width, *(f"{str(checkout)[-20:]:>20}" for checkout in given.checkouts))
    for name in columns[0]:
        print(f"{name:{width}}", *(f"{column[name]:>20}" for column in columns))


if __name__ == "__main__":
    main()
