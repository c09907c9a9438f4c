from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from fastnst.errors import InputError
from fastnst.exact.presets import preset_settings
from fastnst.exact.settings import OptimizeSettings
from fastnst.research.studies import PRESET_OF, STUDIES, Given, Named, StudyName, StudyPlan


def named(name: str, seed: int) -> Named:
    frame = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Named(name, frame, np.zeros_like(frame))


@pytest.fixture
def given() -> Given:
    return Given([named("bridge", 0), named("cat", 1)], [named("waves", 2), named("scream", 3)], OptimizeSettings())


def plan_of(name: StudyName, given: Given) -> StudyPlan:
    return STUDIES[name](replace(given, network="starry"))


def settings_of(plan: StudyPlan) -> list[list[OptimizeSettings | None]]:
    return [
        [None if cell is None or cell.job is None else cell.job.settings for cell in cells] for _, cells in plan.rows
    ]


@pytest.mark.parametrize("name", get_args(StudyName))
def test_every_study_fills_its_columns(name: StudyName, given: Given) -> None:
    plan = plan_of(name, given)
    assert plan.rows
    assert all(len(cells) == len(plan.columns) for _, cells in plan.rows)
    assert any(cell is not None and cell.job is not None for _, cells in plan.rows for cell in cells)
    assert len({label for label, _ in plan.rows}) == len(plan.rows)


def test_every_study_is_there_and_its_preset() -> None:
    assert set(STUDIES) == set(get_args(StudyName))
    for preset in PRESET_OF.values():
        preset_settings(preset)


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("gatys2015", ["content-layers", "style-layers", "grid", "optimizers"]),
        ("cs229", ["content-weight"]),
        ("e4040", ["pooling", "total-variation", "init", "gallery"]),
        ("aradwad-gauri", ["library"]),
    ],
)
def test_studies_of_a_document_start_from_its_settings(preset: str, names: list[StudyName]) -> None:
    assert {PRESET_OF.get(name) for name in names} == {preset}


def test_total_variation_has_two_forms_and_none(given: Given) -> None:
    row = settings_of(plan_of("total-variation", replace(given, settings=preset_settings("e4040"))))[0]
    assert [(one.tv_weight, one.tv_kind) for one in row[1:]] == [(1.0, "l1"), (0.02, "squared")]
    assert row[0].tv_weight == 0


def test_grid_of_gatys2015(given: Given) -> None:
    rows = settings_of(plan_of("grid", replace(given, settings=preset_settings("gatys2015"))))
    assert [len(row[0].style_layers) for row in rows] == [1, 2, 3, 4, 5]
    assert [[one.content_weight / one.style_weight for one in row] for row in rows] == [[1e-5, 1e-4, 1e-3, 1e-2]] * 5
    assert all(one.init == "noise" for row in rows for one in row)


def test_reconstructions_know_one_term_alone(given: Given) -> None:
    content = [one for row in settings_of(plan_of("content-layers", given)) for one in row if one]
    assert {one.content_layers for one in content} == {(f"relu{n}_1",) for n in range(1, 6)} | {("relu4_2",)}
    assert all(one.style_weight == 0 and one.style_layers == () and one.init == "noise" for one in content)
    style = [one for row in settings_of(plan_of("style-layers", given)) for one in row if one]
    assert [len(one.style_layers) for one in style] == [1, 2, 3, 4, 5] * 2
    assert all(one.content_weight == 0 and one.content_layers == () for one in style)


def test_other_layers_drop_weights_of_layers(given: Given) -> None:
    weighed = replace(given, settings=preset_settings("cs229"))
    for row in settings_of(plan_of("content-layers", weighed)):
        assert all(one.content_layer_weights == () for one in row if one)


def test_content_weights_of_cs229(given: Given) -> None:
    weights = [one.content_weight for one in settings_of(plan_of("content-weight", given))[0]]
    assert {1e-2, 1e-3, 1e-8} <= set(weights)


def test_optimizers_show_one_run_at_its_steps(given: Given) -> None:
    plan = plan_of("optimizers", replace(given, settings=preset_settings("gatys2015", steps=500)))
    assert list(plan.columns) == ["step 100", "step 300", "step 500"]
    label, cells = plan.rows[0]
    assert label == "lbfgs: bridge, waves"
    assert [cell.step for cell in cells] == [100, 300, 500]
    assert cells[0].job is cells[2].job


def test_blend_goes_from_one_style_to_the_next(given: Given) -> None:
    plan = plan_of("blend", given)
    assert len(plan.rows) == 3 * 2
    _, cells = plan.rows[0]
    assert [[style.weight for style in cell.job.styles] for cell in cells] == [
        [1 - s, s] for s in (0, 0.25, 0.5, 0.75, 1)
    ]
    with pytest.raises(InputError, match="wants two or more"):
        plan_of("blend", replace(given, styles=given.styles[:1]))


def test_masks_are_given_or_asked_for_and_drop_no_photo_unsaid(given: Given) -> None:
    _, cells = plan_of("masks", given).rows[0]
    plain, bare, guarded = (cell.job for cell in cells[-3:])
    assert plain.content_mask is None
    assert plain.styles[0].mask is None
    assert bare.content_mask is guarded.content_mask is given.photos[0].mask
    assert (bare.settings.mask_guard, guarded.settings.mask_guard) == (0.0, given.settings.mask_guard)
    with pytest.raises(InputError, match="bridge, waves: this study wants --content-mask and --style-mask"):
        plan_of("masks", replace(given, photos=[replace(given.photos[0], mask=None)], styles=given.styles[:1]))
    with pytest.raises(InputError, match=r"as many styles as photos, .* given are 2 photos and 1 styles"):
        plan_of("masks", replace(given, styles=given.styles[:1]))


def test_library_wants_a_network_and_ends_with_all_styles_in_one_picture(given: Given) -> None:
    with pytest.raises(InputError, match="this study wants --trained-style"):
        STUDIES["library"](given)
    rows = plan_of("library", given).rows
    assert [label for label, _ in rows[-2:]] == ["bridge, waves + scream", "cat, waves + scream"]
    last = rows[-1][1][-1].job
    assert [style.weight for style in last.styles] == [1, 1]
    assert list(last.style_names) == ["waves", "scream"]
    assert len(plan_of("library", replace(given, styles=given.styles[:1])).rows) == 2


def test_gallery_has_every_style_on_every_photo(given: Given) -> None:
    plan = plan_of("gallery", given)
    assert [label for label, _ in plan.rows] == ["", "bridge", "cat"]
    jobs = [cell.job for _, cells in plan.rows[1:] for cell in cells[1:]]
    assert [(one.photo.name, one.style_names[0]) for one in jobs] == [
        (photo, style) for photo in ("bridge", "cat") for style in ("waves", "scream")
    ]
