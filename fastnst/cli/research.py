"""`fastnst research`: what reproduces papers and the project's own figures, and compares by eye."""

from cyclopts import App

COMMANDS = {
    "study": "Draw contact sheets of the exact method, in which one thing changes.",
    "distill": "Make the compact loss network from VGG-19 (the package has one already).",
    "bench-optimize": "Time the exact method against plain L-BFGS.",
    "blind": "Write pairs of pictures without names, to judge by eye.",
    "blind-count": "Count the answers to such pairs.",
}
_MODULES = {"blind-count": "blind"}

app = App(
    name="research",
    help="Reproduce papers and the project's own figures; judge pictures by eye.",
    help_format="plaintext",
)
for name, summary in COMMANDS.items():
    function = name.replace("-", "_")
    app.command(f"fastnst.cli.{_MODULES.get(name, function)}:{function}", name=name, help=summary)
