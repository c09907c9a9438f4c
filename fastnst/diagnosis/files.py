"""Files: the loss network's weights, and the styles."""

import hashlib
import os
import re
import shlex
import sys
from pathlib import Path

from fastnst.diagnosis.findings import Finding
from fastnst.diagnosis.installation import PIP
from fastnst.diagnosis.probing import Answer

WEIGHTS_VARIABLE = "FASTNST_LOSS_WEIGHTS"
_HASHED_NAME = re.compile(r"vgg1[69]-([0-9a-f]{8})\.pth")


def hub_folder() -> Path:
    """Where torch keeps weights that it has fetched, as torch.hub.get_dir() says; without torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    home = os.environ.get("TORCH_HOME")
    return (Path(home).expanduser() if home else cache / "torch") / "hub" / "checkpoints"


def judge_weights() -> list[Finding]:
    """Look at the loss network's weights: a file that the environment names, and those that torch has fetched."""
    findings = []
    named = os.environ.get(WEIGHTS_VARIABLE)
    if named and not Path(named).is_file():
        forget = f"set {WEIGHTS_VARIABLE}=" if sys.platform == "win32" else f"unset {WEIGHTS_VARIABLE}"
        findings.append(Finding("weights", WEIGHTS_VARIABLE, "wrong", f"{named}: no such file", forget))
    elif named:
        findings.append(Finding("weights", WEIGHTS_VARIABLE, "ok", named))
    findings += [_judge_fetched(path) for path in sorted(hub_folder().glob("vgg1[69]-*.pth"))]
    if not findings:
        detail = f"none; the first training fetches VGG-19 (0.5 GB) into {hub_folder()}"
        findings.append(Finding("weights", "loss network", "absent", detail))
    return findings


def _judge_fetched(path: Path) -> Finding:
    match = _HASHED_NAME.fullmatch(path.name)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        return Finding("weights", path.name, "wrong", f"{path}: cannot be read ({error.strerror or error})")
    if match is not None and not digest.hexdigest().startswith(match[1]):
        delete = f'del "{path}"' if sys.platform == "win32" else f"rm {shlex.quote(str(path))}"
        return Finding("weights", path.name, "wrong", f"{path}: is damaged; it is fetched again when needed", delete)
    return Finding("weights", path.name, "ok", str(path))


def judge_styles(answer: Answer) -> list[Finding]:
    """Judge the installed styles, from what came of loading each."""
    findings = []
    for line in answer.lines:
        if line["error"] is None:
            detail = ", ".join(filter(None, (line["network"], line["licence"], line["origin"])))
            findings.append(Finding("styles", line["name"], "ok", detail))
        else:
            own = line["origin"] == "yours"
            mend = f"fastnst styles remove {line['name']}" if own else f"{PIP} install --force-reinstall fastnst"
            findings.append(Finding("styles", line["name"], "wrong", line["error"], mend))
    if answer.failure is not None:
        findings.append(Finding("styles", "styles", "wrong", f"loading them {answer.failure}"))
    if not findings:
        findings.append(Finding("styles", "styles", "wrong", "none is installed", "fastnst train --style PAINTING.jpg"))
    return findings
