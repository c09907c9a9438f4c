import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastnst.cli import main
from fastnst.errors import FastNSTError, InputError
from fastnst.exact.settings import OptimizeSettings
from fastnst.research import descent_benchmark
from fastnst.research.descent_benchmark import (
    BASELINE,
    Curve,
    DescentBenchmark,
    DescentPoint,
    PicturePair,
    as_json,
    loss_plot,
    mean_ratios,
    rows,
)
from fastnst.research.descent_worker import DescentJob, kept_steps, settings_of, work


@pytest.fixture
def settings(small: OptimizeSettings) -> OptimizeSettings:
    return replace(small, steps=6, precision="auto")


@pytest.fixture
def pair(photos: Path, style_picture: Path) -> PicturePair:
    return PicturePair(photos / "photo0.png", style_picture)


def curve(contender: str, *points: tuple[int, float, float, float], photo: str = "cat") -> Curve:
    """A curve of (step, seconds, processor seconds, total)."""
    made = tuple(DescentPoint(step, elapsed, cpu, total, total / 2, total / 10) for step, elapsed, cpu, total in points)
    return Curve(photo, "waves", contender, made, 2, {"processors": 2, "processor": "some", "load_before": 0.0})


def in_this_process(job: dict[str, Any], on_step: Any) -> tuple[list[dict[str, Any]], int]:
    """What a process of its own would tell, without one."""
    told: list[dict[str, Any]] = []
    work(DescentJob(started=0.0, **job), told.append)
    if "error" in told[-1]:
        raise FastNSTError(told[-1]["error"])
    for answer in told[:-1]:
        on_step(answer["step"])
    return told[:-1], told[-1]["threads"]


def fail(job: dict[str, Any], on_step: Any) -> tuple[list[dict[str, Any]], int]:
    raise AssertionError("it is run again")


def test_kept_steps_grow_apart() -> None:
    assert kept_steps(3) == [1, 2, 3]
    assert kept_steps(12) == list(range(1, 13))
    kept = kept_steps(500)
    assert kept[:10] == list(range(1, 11))
    assert kept[-1] == 500
    assert len(kept) < 100
    assert all(later <= max(earlier + 1, earlier * 1.08) for earlier, later in itertools.pairwise(kept))


def test_rows_by_hand() -> None:
    # The baseline ends with 0.5 after 100 s; the other is below that at step 3, after 8 s.
    curves = [
        curve(BASELINE, (1, 10, 20, 1.0), (10, 100, 200, 0.5)),
        curve("fastnst", (1, 4, 8, 2.0), (3, 8, 20, 0.49), (5, 12, 30, 0.4)),
        curve("slow", (1, 4, 8, 2.0)),
    ]
    table = rows(curves)
    assert [row["reached_step"] for row in table] == [10, 3, None]
    assert [row["ratio"] for row in table] == [1, 12.5, None]
    assert [row["cpu_ratio"] for row in table] == [1, 10, None]
    assert [row["total"] for row in table] == [0.5, 0.4, 2.0]
    assert mean_ratios(table) == {"fastnst": pytest.approx(12.5), "slow": None}


def test_the_mean_is_geometric_and_over_the_pairs() -> None:
    curves = [
        made
        for photo, reached in (("cat", 25.0), ("dog", 4.0))
        for made in (
            curve(BASELINE, (10, 100, 100, 0.5), photo=photo),
            curve("fastnst", (3, reached, 1, 0.5), photo=photo),
        )
    ]
    assert mean_ratios(rows(curves)) == {"fastnst": pytest.approx(10)}


def test_json_and_plot(tmp_path: Path) -> None:
    curves = [curve(BASELINE, (1, 10, 20, 1.0), (10, 100, 200, 0.5)), curve("fastnst", (1, 4, 8, 2.0))]
    told = json.loads(as_json(curves, {"size": 24}))
    assert told["table"][0]["total"] == 0.5
    assert told["curves"][0]["points"][1]["elapsed_s"] == 100
    assert told["settings"] == {"size": 24}
    plot = loss_plot(curves)
    (tmp_path / "plot.png").write_bytes(plot.light)
    with Image.open(tmp_path / "plot.png") as drawn:
        assert drawn.size in {(919, 840), (920, 840)}  # matplotlib 3.10 and 3.11 round otherwise


def test_settings_survive_json(settings: OptimizeSettings, tmp_path: Path) -> None:
    for init in ("content", Path("fast:starry"), tmp_path / "a.png"):
        asked = replace(
            settings, init=init, loss_network="compact", fine_tune_steps=1, fine_tune_weights=tmp_path / "vgg.pth"
        )
        values = json.loads(json.dumps(descent_benchmark._plain(asdict(asked))))
        job = DescentJob("fastnst", "a", "b", "c", 0.0, 3, values)
        assert settings_of(job) == asked


def test_contenders_are_judged_alike(settings: OptimizeSettings, pair: PicturePair, tmp_path: Path) -> None:
    benchmark = DescentBenchmark(tmp_path, settings, baseline_steps=8, work=in_this_process)
    steps: list[int] = []
    baseline = benchmark.run(pair, BASELINE, {}, steps.append)
    ours = benchmark.run(pair, "fastnst", {})
    assert steps == [point.step for point in baseline.points] == list(range(1, 9))
    assert [point.step for point in ours.points] == list(range(1, 7))
    # fastnst's first picture is the photo itself: no content lost; the baseline's is one step on.
    assert ours.points[0].content == 0
    assert baseline.points[0].content > 0
    assert ours.last.total < 0.7 * ours.points[0].total
    assert baseline.last.total < 0.7 * ours.points[0].total
    # The best until then; bfloat16 and the rounding to 256 levels may put two that are near the other way round.
    totals = [point.total for point in ours.points]
    assert all(later <= 1.01 * earlier for earlier, later in itertools.pairwise(totals))
    assert ours.last.total == pytest.approx(ours.last.content + 5 * ours.last.style)
    with Image.open(tmp_path / f"{pair.name}-baseline.png") as painted:
        assert painted.size == (24, 17)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".png", ".png"]


def test_the_baseline_is_plain_lbfgs(settings: OptimizeSettings, pair: PicturePair, tmp_path: Path) -> None:
    # Its first step goes against the gradient, of length 1 in the sum of absolute values, as torch's always does.
    job = DescentJob("baseline", str(pair.photo), str(pair.style), str(tmp_path / "a"), 0.0, 1, _values(settings))
    told: list[dict[str, Any]] = []
    work(job, told.append)
    assert [answer.get("step") for answer in told] == [1, None]
    with Image.open(pair.photo) as photo:
        small = np.asarray(photo.resize((24, 17), Image.Resampling.LANCZOS)).astype(int)
        change = np.abs(np.load(tmp_path / "a" / "1.npy").astype(int) - small) / 255
    assert 0 < change.sum() < 1.5


def test_a_small_level_is_not_judged(settings: OptimizeSettings, pair: PicturePair, tmp_path: Path) -> None:
    levels = {"pyramid_levels": 2, "steps": 4}
    benchmark = DescentBenchmark(tmp_path, replace(settings, size=48), baseline_steps=2, work=in_this_process)
    curve = benchmark.run(pair, "pyramid", levels)
    assert [point.step for point in curve.points] == [5, 6]


def test_the_compact_network_is_polished(settings: OptimizeSettings, pair: PicturePair, tmp_path: Path) -> None:
    changes = {
        "loss_network": "compact",
        "loss_weights": None,
        "fine_tune_steps": 2,
        "fine_tune_weights": settings.loss_weights,
    }
    benchmark = DescentBenchmark(tmp_path, settings, work=in_this_process)
    assert benchmark.steps_of("compact", changes) == 6
    assert benchmark.steps_of(BASELINE, changes) == 500
    curve = benchmark.run(pair, "compact", changes)
    # Judged by the benchmark's own loss network from the first step on.
    assert [point.step for point in curve.points] == list(range(1, 7))
    assert curve.last.total < curve.points[3].total


def test_what_is_kept_is_not_run_again(settings: OptimizeSettings, pair: PicturePair, tmp_path: Path) -> None:
    benchmark = DescentBenchmark(tmp_path, settings, baseline_steps=2, work=in_this_process)
    first = benchmark.run(pair, BASELINE, {})
    again = DescentBenchmark(tmp_path, settings, baseline_steps=2, work=fail)
    assert again.run(pair, BASELINE, {}) == first
    # Other ways down have the same baseline; another loss has not.
    lighter = replace(settings, steps=3, history=5, precision="float32", pyramid_levels=1)
    assert DescentBenchmark(tmp_path, lighter, baseline_steps=2, work=in_this_process).run(pair, BASELINE, {}) == first
    other = DescentBenchmark(tmp_path, replace(settings, style_weight=7.0), baseline_steps=2, work=in_this_process)
    with pytest.raises(InputError, match=r"baseline.json: was measured with other settings; remove it or choose"):
        other.run(pair, BASELINE, {})


def test_what_goes_wrong_is_told(settings: OptimizeSettings, pair: PicturePair, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    job = DescentJob("fastnst", str(tmp_path / "gone.png"), str(pair.style), "a.npz", 0.0, 1, _values(settings))
    work(job, told.append)
    assert told == [{"error": f"{tmp_path / 'gone.png'}: no such file"}]


def _values(settings: OptimizeSettings) -> dict[str, Any]:
    return json.loads(json.dumps(descent_benchmark._plain(asdict(settings))))


@pytest.mark.slow
def test_the_command(pair: PicturePair, loss_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "research",
        "bench-optimize",
        *("--photo", str(pair.photo), "--style", str(pair.style), "-o", str(tmp_path / "bench")),
        *("--baseline-steps", "5", "--steps", "20", "--size", "24", "--loss-weights", str(loss_weights)),
        *("--content-layers", "relu2_1", "--style-layers", "relu1_1", "--style-layers", "relu2_1"),
    ]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
    told = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert [row["contender"] for row in told["table"]] == ["baseline", "fastnst"]
    assert told["settings"]["tv_weight"] == 0
    # Importing torch counts.
    assert told["curves"][0]["points"][0]["elapsed_s"] > 0.3
    assert (tmp_path / "bench" / "loss-against-seconds.png").is_file()
    printed = capsys.readouterr().out
    assert "fastnst: " in printed
    assert "times as fast (geometric mean)" in printed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--photo", "a.jpg"], "2 photos and 1 styles; give one --style for each --photo"),
        (["--photo", "a.jpg", "--style", "b.jpg"], "a.jpg: no such file"),
        (["--init", "nois"], "nois: no such file; --init expects content, noise"),
        (["--compact-fine-tune-steps", "999"], "--fine-tune-steps is 999 of --steps 300; expected fewer"),
    ],
)
def test_what_is_wrong_is_told_before_the_baseline_runs(
    changes: list[str], message: str, pair: PicturePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--photo", str(pair.photo), "--style", str(pair.style)]
    with pytest.raises(SystemExit):
        main(["research", "bench-optimize", *given, "-o", str(tmp_path), *changes])
    assert message in capsys.readouterr().err
