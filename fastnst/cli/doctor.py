"""`fastnst doctor`: what is installed, what works, and what mends the rest."""

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fastnst.cli.console import Console

if TYPE_CHECKING:
    from fastnst.diagnosis.examine import Diagnosis

_MARKS = {"ok": ("ok", "green"), "absent": ("--", "dim"), "wrong": ("!!", "yellow"), "broken": ("XX", "red")}


def doctor(*, as_json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Look at what is installed and what really works here, and say how to fix the rest.

    Exit status 1 only if something is broken without which no picture can be stylized.

    Parameters
    ----------
    as_json:
        Print JSON, for programs and for reports of errors.
    """
    from fastnst.diagnosis.examine import examine  # noqa: PLC0415

    waiting = Console(stderr=True)
    with waiting.status("looking ..."):
        report = examine()
    if as_json:
        print(report.as_json(), end="")
    else:
        _show(report)
    if not report.works:
        sys.exit(1)


def _show(report: "Diagnosis") -> None:
    console = Console()
    for area, findings in groupby(report.findings, key=lambda finding: finding.area):
        console.print(area, style="bold")
        for finding in findings:
            mark, color = _MARKS[finding.status]
            line = f"{finding.name}: {finding.detail}" if finding.detail else finding.name
            console.print(f"  {mark}  ", style=color, end="")
            console.print(line)
            if finding.mend:
                console.print(f"        {finding.mend}", style="cyan")
    console.print(_summary(report), style="bold")


def _summary(report: "Diagnosis") -> str:
    if not report.wrong:
        return "All is well."
    things = "1 thing is" if len(report.wrong) == 1 else f"{len(report.wrong)} things are"
    names = ", ".join(finding.name for finding in report.wrong)
    last = "pictures can be stylized" if report.works else "no picture can be stylized before that is fixed"
    return f"{things} wrong ({names}); {last}."
