"""Imports between packages go down only, and what paints with an exported network never needs torch."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "fastnst"

_BELOW_THE_COMMANDS = {
    "io",
    "batch",
    "report",
    "losses",
    "backends",
    "models",
    "metrics",
    "tiling",
    "inference",
}
_BELOW_THE_COMMANDS |= {"video", "webcam", "training", "exact"}

MAY_IMPORT = {
    "io": set(),
    "batch": {"io"},
    "report": {"io"},
    "losses": {"io"},
    "backends": {"io"},
    "models": {"io", "backends"},
    "metrics": {"io", "losses"},
    "tiling": {"io", "backends"},
    "inference": {"io", "batch", "backends", "tiling"},
    "video": {"io", "batch", "backends", "inference"},
    "webcam": {"io", "backends", "inference", "video"},
    "training": {"io", "losses", "models", "metrics"},
    "exact": {"io", "losses", "inference"},
    "web": _BELOW_THE_COMMANDS,
    "research": _BELOW_THE_COMMANDS,
    "diagnosis": _BELOW_THE_COMMANDS | {"research"},
    "cli": _BELOW_THE_COMMANDS | {"web", "research", "diagnosis"},
}
"""Which packages each may import, from the bottom up."""

FOR_ALL = {"fastnst.errors", "fastnst.machine", "fastnst.renamed"}
"""What everything may import; they import each other alone."""

WITHOUT_TORCH = ("batch", "backends", "tiling", "inference", "video", "webcam")


@cache
def modules() -> dict[str, Path]:
    """Every module by its full name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, at its top or inside a function; imports for type checkers alone are left out."""
    return frozenset(_imports(ast.parse(modules()[module].read_text(encoding="utf-8"))))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules() else str(node.module) for name in full)
        else:
            yield from _imports(node)


def package_of(module: str) -> str:
    """The package below fastnst; empty for fastnst's own modules."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / parts[1]).is_dir() else ""


def test_the_table_names_every_package_from_the_bottom_up() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(MAY_IMPORT)
    below: set[str] = set()
    for package, allowed in MAY_IMPORT.items():
        assert allowed <= below, package
        below.add(package)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_down_only(package: str) -> None:
    crossing = {
        (module, other)
        for module in modules()
        if package_of(module) == package
        for name in imports(module)
        if name.split(".")[0] == "fastnst" and name not in FOR_ALL
        for other in [package_of(name) or name]
        if other != package and other not in MAY_IMPORT[package]
    }
    assert crossing == set()


def test_what_all_may_import_imports_no_package() -> None:
    assert {name for module in FOR_ALL for name in imports(module) if name.startswith("fastnst")} <= FOR_ALL


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_needs_no_torch(package: str) -> None:
    reached = {module: module for module in modules() if package_of(module) == package}
    waiting = list(reached)
    while waiting:
        module = waiting.pop()
        for name in imports(module):
            assert name.split(".")[0] not in {"torch", "torchvision"}, f"{reached[module]} -> {name}"
            if name in modules() and name not in reached:
                reached[name] = f"{reached[module]} -> {name}"
                waiting.append(name)


def test_no_two_modules_import_each_other() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for name in imports(module) & modules().keys():
                visit(name, (*trail, module))
            done.add(module)

    for module in modules():
        visit(module, ())


def test_packages_do_not_take_the_names_of_public_functions() -> None:
    assert not {"train", "optimize"} & {name for path in ROOT.iterdir() for name in [path.stem]}


def test_every_package_says_what_it_is_for_and_what_it_may_import() -> None:
    for package in MAY_IMPORT:
        words = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert "May import" in words, package


def test_no_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = {}
    for module, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
