"""What `fastnst doctor` finds, and how it is judged."""

import json
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Area: TypeAlias = Literal["versions", "providers", "cameras", "codecs", "weights", "styles"]
Status: TypeAlias = Literal["ok", "absent", "wrong", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    area: Area
    name: str
    status: Status
    """ok; absent: not there, and need not be; wrong: there, and does not work; broken: wrong, and nothing goes without
    it."""

    detail: str = ""
    """What was found, or what is wrong."""

    mend: str | None = None
    """The one command that mends or adds it."""


@dataclass(frozen=True)
class Diagnosis:
    """All that was found."""

    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> list[Finding]:
        """What ought to be mended."""
        return [finding for finding in self.findings if finding.status in {"wrong", "broken"}]

    @property
    def works(self) -> bool:
        """Whether all that is needed to paint a picture works."""
        return not any(finding.status == "broken" for finding in self.findings)

    def as_json(self) -> str:
        """For programs, and for reports of errors."""
        content = {"works": self.works, "findings": [asdict(finding) for finding in self.findings]}
        return json.dumps(content, indent=2) + "\n"
