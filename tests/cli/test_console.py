"""Names are printed as they are, whatever they look like, and cannot steer the terminal."""

import io

import pytest

from fastnst.cli.console import Console


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("run[v2]/[/b].png", "run[v2]/[/b].png"),
        ("[red]a[/red] [link=x]", "[red]a[/red] [link=x]"),
        (":smile:.png", ":smile:.png"),
        ("a\x1b[31m\x1b]0;title\x07b", "a\\x1b[31m\\x1b]0;title\\x07b"),
        ("caf\udce9.jpg", "caf\\udce9.jpg"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("n" * 300 + " x" * 100, "n" * 300 + " x" * 100),
        ("café 写 👩\u200d🎨", "café 写 👩\u200d🎨"),
    ],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_names(name: str, shown: str, terminal: bool) -> None:
    console = Console()
    console.file, console._force_terminal, console.width = io.StringIO(), terminal, 40
    console.print(f"{name}: painted")
    console.print(name, style="red", end="")
    printed = console.file.getvalue()
    assert f"{shown}: painted\n" in printed
    assert printed.count(shown) == 2
    if not terminal:
        assert printed == f"{shown}: painted\n{shown}"
