import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastnst.errors import OutputError, StyleError
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.images import Frame, read_frame
from fastnst.research.studies import STUDIES, Given, Named, StudyPlan
from fastnst.research.study_run import run_key, run_study

pytestmark = pytest.mark.usefixtures("sketched_plots")


@pytest.fixture(scope="module")
def given(small: OptimizeSettings, photo: Frame, painting: Frame) -> Given:
    return Given([Named("photo", photo)], [Named("waves", painting)], replace(small, steps=5))


def steps_of(plan: StudyPlan, folder: Path) -> int:
    """Draw a study, and count the steps that had to be computed for it."""
    told: list[tuple[int, ...]] = []
    run_study(plan, folder, size=64, on_step=lambda *step: told.append(step))
    return len(told)


def test_writes_sheet_curves_numbers_and_every_run(given: Given, tmp_path: Path) -> None:
    seen = []
    files = run_study(STUDIES["pooling"](given), tmp_path, size=64, on_step=lambda *told: seen.append(told))
    assert [file.name for file in files] == ["sheet.png", "curves.png", "study.json"]
    assert seen == [(run, 2, step, 5) for run in (1, 2) for step in range(1, 6)]
    told = json.loads((tmp_path / "study.json").read_text())
    assert [(cell["row"], cell["column"]) for cell in told["cells"]] == [
        ("photo, waves", "average"),
        ("photo, waves", "max"),
    ]
    for cell in told["cells"]:
        run = told["runs"][cell["run"]]
        assert run["settings"]["pool"] == cell["column"]
        assert len(run["history"]) == 5
        assert (run["photo"], run["styles"]) == ("photo", ["waves"])
        assert json.loads((tmp_path / "runs" / f"{cell['run']}.json").read_text()) == run
        assert (tmp_path / "runs" / f"{cell['run']}.png").is_file()
    with Image.open(files[0]) as sheet:
        assert sheet.width >= 2 * 24
    with Image.open(files[1]) as curves:
        assert curves.width > 1000


def test_what_is_there_is_not_painted_again(given: Given, tmp_path: Path) -> None:
    plan = STUDIES["total-variation"](given)
    assert steps_of(plan, tmp_path) == 15
    first = [file.read_bytes() for file in (tmp_path / "sheet.png", tmp_path / "study.json")]
    assert steps_of(plan, tmp_path) == 0
    assert [file.read_bytes() for file in (tmp_path / "sheet.png", tmp_path / "study.json")] == first
    other = replace(given, settings=replace(given.settings, seed=1))
    assert steps_of(STUDIES["total-variation"](other), tmp_path) == 15


def test_a_stopped_study_goes_on(given: Given, tmp_path: Path) -> None:
    plan = STUDIES["pooling"](given)

    def stop(number: int, runs: int, step: int, steps: int) -> None:
        if (number, step) == (2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path, size=64, on_step=stop)
    assert len(list((tmp_path / "runs").glob("*.png"))) == 1
    assert not (tmp_path / "sheet.png").exists()
    assert steps_of(plan, tmp_path) == 5
    assert (tmp_path / "sheet.png").is_file()


@pytest.fixture(scope="module")
def painted(given: Given, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is done, of two runs."""
    folder = tmp_path_factory.mktemp("study")
    assert steps_of(STUDIES["pooling"](given), folder) == 10
    return folder


@pytest.mark.parametrize("content", ["", '{"a":', "[]", '{"history": []}'])
def test_a_damaged_run_is_painted_again(content: str, given: Given, painted: Path, tmp_path: Path) -> None:
    plan = STUDIES["pooling"](given)
    shutil.copytree(painted, tmp_path, dirs_exist_ok=True)
    first, second = sorted((tmp_path / "runs").glob("*.json"))
    first.write_text(content)
    second.with_suffix(".png").write_text("no picture")
    assert steps_of(plan, tmp_path) == 10
    assert json.loads(first.read_text())["history"]


def test_what_cannot_succeed_is_told_before_the_work(given: Given, tmp_path: Path) -> None:
    plan = STUDIES["library"](replace(given, network="stary"))
    told: list[tuple[int, ...]] = []

    def tell(*step: int) -> None:
        told.append(step)

    with pytest.raises(StyleError, match="did you mean 'starry'"):
        run_study(plan, tmp_path, size=64, on_step=tell)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"runs: cannot be written to \(Not a directory\); choose another"):
        run_study(STUDIES["pooling"](given), tmp_path / "file", size=64, on_step=tell)
    assert not told


def test_a_run_is_shown_at_several_steps(given: Given, tmp_path: Path) -> None:
    plan = STUDIES["optimizers"](replace(given, settings=replace(given.settings, steps=10)))
    assert steps_of(plan, tmp_path) == 20
    key = run_key(plan.rows[0][1][0].job)
    frames = [read_frame(tmp_path / "runs" / f"{key}-{step}.png") for step in (2, 6, 10)]
    assert not np.array_equal(frames[0], frames[2])
    history = json.loads((tmp_path / "runs" / f"{key}.json").read_text())["history"]
    assert len(history) == 10


def test_pictures_masks_weights_and_settings_make_the_key(given: Given) -> None:
    one = STUDIES["pooling"](given).rows[0][1][0].job
    style = one.styles[0]
    others = [
        replace(one, settings=replace(one.settings, seed=3)),
        replace(one, photo=Named("photo", one.photo.frame[:-1])),
        replace(one, styles=[replace(style, frame=style.frame[:, :-1])]),
        replace(one, styles=[replace(style, mask=style.frame)]),
        replace(one, styles=[replace(style, mask="#ff0000")]),
        replace(one, styles=[style, replace(style, weight=2.0)]),
        replace(one, content_mask=one.photo.frame),
    ]
    assert len({run_key(other) for other in [one, *others]}) == len(others) + 1
    assert run_key(replace(one, photo=Named("renamed", one.photo.frame))) == run_key(one)


def test_gallery_shows_given_pictures(given: Given, tmp_path: Path) -> None:
    run_study(STUDIES["gallery"](given), tmp_path, size=48)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 48 + 24
