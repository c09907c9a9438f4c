"""An optimisation as plain values, for a JSON file: what was asked, what ran, what came out."""

import dataclasses
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastnst.exact.result import OptimizeResult
from fastnst.exact.settings import OptimizeSettings
from fastnst.machine.memory import peak_memory_mb


def report(result: OptimizeResult, settings: OptimizeSettings) -> dict[str, Any]:
    """Settings, provenance, hardware, losses and every step, as values that JSON holds."""
    height, width = result.frame.shape[:2]
    return {
        "method": "exact",
        "fastnst": version("fastnst"),
        "torch": version("torch"),
        "settings": {name: _plain(value) for name, value in dataclasses.asdict(settings).items()},
        "style_weight": result.style_weight,
        "loss_weights": result.loss_weights,
        "hardware": result.hardware,
        "width": width,
        "height": height,
        "elapsed_s": result.elapsed_s,
        "interrupted": result.interrupted,
        "planned_memory_mb": result.planned_bytes / 2**20,
        "peak_memory_mb": peak_memory_mb(),
        "losses": result.losses,
        "best_step": result.best.step,
        "history": [dataclasses.asdict(step) for step in result.history],
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
