"""The refinement of the compact network: what it looks at, and that it helps."""

import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch

from fastnst.errors import DivergedError
from fastnst.losses.compact import LAYERS, CompactFeatures, load_compact
from fastnst.losses.settings import LossSettings
from fastnst.research import fitting
from fastnst.research.distill import CHECKPOINT, DistillProgress, distill, finish, load_state, save_state
from fastnst.research.distill_pictures import PictureDescent, Pictures, advance, draw_plan, near_pairs, plans
from fastnst.research.settings import DistillSettings

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("small_network", "short_descents")


@pytest.fixture
def refined(settings: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> DistillSettings:
    monkeypatch.setattr(fitting, "BASIS_PICTURES", 6)
    return replace(settings, rounds=1, refine_steps=2, refine_crop_size=32)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs one keeps a refinement of two steps for the others."""
    return tmp_path_factory.mktemp("refined") / "begun"


@pytest.fixture
def begun(refined: DistillSettings, photos: Path, kept: Path, tmp_path: Path) -> Path:
    """A folder with a refinement of two steps."""
    if not kept.exists():
        distill(refined, photos, kept, device=CPU)
    return Path(shutil.copytree(kept, tmp_path / "begun"))


def test_errors_of_responses_and_changes_by_hand() -> None:
    # Two pictures of two components and one place each; the second half of the batch is what they are compared with.
    given = torch.tensor([[3.0, 0.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])[..., None, None]
    wanted = torch.tensor([[4.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0]])[..., None, None]
    torch.testing.assert_close(fitting.relative_errors(given, wanted), torch.tensor([1 / 16, 2 / 4, 0.0, 2.0]))
    # Changes: (2, 0) for (3, 0) and (0, 1) for (0, 1).
    changes = fitting.relative_errors(fitting.change_of(given), fitting.change_of(wanted))
    torch.testing.assert_close(changes, torch.tensor([1 / 9, 0.0]))


@pytest.mark.slow
def test_a_refinement_lowers_both_errors(
    refined: DistillSettings, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "STYLE_WEIGHT", 0.0)  # of three channels it would drown the others
    told: list[DistillProgress] = []
    longer = replace(refined, refine_steps=60, refine_pairs=2, refine_rate=6e-3)
    distill(longer, photos, tmp_path, on_progress=told.append, device=CPU)
    steps = [progress.missed for progress in told if progress.missed is not None]
    assert len(steps) == 60

    def mean(part: list[dict[str, fitting.Missed]], name: str) -> float:
        return fmean(getattr(missed[layer], name) for missed in part for layer in LAYERS)

    for name in ("responses", "changes"):
        assert mean(steps[-15:], name) < 0.95 * mean(steps[:15], name)


def test_goes_on_where_a_refinement_was_stopped(refined: DistillSettings, photos: Path, begun: Path) -> None:
    told: list[DistillProgress] = []
    longer = replace(refined, refine_steps=5)
    result = distill(longer, photos, begun, resume=True, on_progress=told.append, device=CPU)
    assert [progress.refined for progress in told] == [3, 4, 5]
    assert load_state(begun / CHECKPOINT).refined == 5
    assert set(result.missed) == set(LAYERS)
    assert "| relu5_1 |" in finish(result, longer, begun).with_suffix(".md").read_text()


def test_goes_on_with_what_the_first_version_left(refined: DistillSettings, photos: Path, begun: Path) -> None:
    state = load_state(begun / CHECKPOINT)
    state.missed = {layer: errors[:2] for layer, errors in state.missed.items()}
    save_state(begun / CHECKPOINT, state, refined)
    assert "| relu5_1 |" not in finish_again(refined, photos, begun)
    assert "| relu5_1 |" in finish_again(replace(refined, refine_steps=3), photos, begun)


def finish_again(settings: DistillSettings, photos: Path, folder: Path) -> str:
    card = (
        finish(distill(settings, photos, folder, resume=True, device=CPU), settings, folder)
        .with_suffix(".md")
        .read_text()
    )
    return card.split("## What is missed")[1]


def test_an_error_that_is_no_number_ends_it_and_the_checkpoint_stays(
    refined: DistillSettings, photos: Path, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (begun / CHECKPOINT).read_bytes()
    monkeypatch.setattr(fitting, "relative_errors", lambda given, _: given.flatten(1).sum(1) * torch.nan)
    with pytest.raises(DivergedError, match="step 3: the error is no longer a number; take a lower --refine-rate"):
        distill(replace(refined, refine_steps=5), photos, begun, resume=True, device=CPU)
    assert (begun / CHECKPOINT).read_bytes() == before


def test_starts_from_a_network_instead_of_rounds(refined: DistillSettings, photos: Path, tmp_path: Path) -> None:
    fitted = distill(replace(refined, refine_steps=0), photos, tmp_path / "fitted", device=CPU)
    weights = finish(fitted, refined, tmp_path / "fitted")
    told: list[DistillProgress] = []
    started = replace(refined, init_from=weights)
    result = distill(started, photos, tmp_path / "refined", on_progress=told.append, device=CPU)
    assert [progress.fit for progress in told] == [None, None]
    assert [progress.refined for progress in told] == [1, 2]
    again = finish(result, started, tmp_path / "refined")
    assert str(tmp_path) not in again.with_suffix(".md").read_text() + again.read_bytes()[:3000].decode("latin1")


def test_the_network_is_frozen_between_steps_and_a_file_holds_it(
    refined: DistillSettings, photos: Path, tmp_path: Path
) -> None:
    result = distill(refined, photos, tmp_path, device=CPU)
    assert not any(parameter.requires_grad for parameter in result.network.parameters())
    weights = finish(result, refined, tmp_path)
    network, _ = load_compact(LossSettings(loss_weights=weights), LAYERS)
    own = result.network.state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, own[name].half().float(), rtol=0, atol=0)


def test_a_descent_in_parts_is_the_same_descent(photos: Path, style_picture: Path) -> None:
    pictures = Pictures(photos, style_picture.parent, 32)
    torch.manual_seed(0)
    network = CompactFeatures()

    def new() -> PictureDescent:
        return PictureDescent(network, draw_plan(pictures, np.random.default_rng(3)), CPU, None)

    whole, parts = new(), new()
    steps = whole.left
    advance(network, [whole], steps, None)
    for _ in range(steps):
        advance(network, [parts], 1, None)
    assert (whole.left, parts.left) == (0, 0)
    torch.testing.assert_close(parts.image, whole.image, rtol=0, atol=1e-6)
    torch.testing.assert_close(advance(network, [parts], 4, None), parts.image)


def test_descents_together_go_as_each_alone(photos: Path, style_picture: Path) -> None:
    pictures = Pictures(photos, style_picture.parent, 32)
    torch.manual_seed(0)
    network = CompactFeatures()

    def new(number: int) -> PictureDescent:
        plan = replace(draw_plan(pictures, np.random.default_rng(number)), steps=2 + number)
        return PictureDescent(network, plan, CPU, None)

    alone = [advance(network, [new(number)], 3, None) for number in range(3)]
    together = [new(number) for number in range(3)]
    result = advance(network, together, 3, None)
    assert [descent.left for descent in together] == [0, 0, 1]  # the first had but two steps to go
    torch.testing.assert_close(
        result, torch.cat(alone), rtol=0, atol=2e-3
    )  # Adam's first step is a sign times the rate
    assert (result - torch.cat([new(number).image for number in range(3)])).abs().amax(dim=(1, 2, 3)).min() > 0.01


def test_what_is_drawn_does_not_hang_on_the_workers(photos: Path, style_picture: Path) -> None:
    pictures = Pictures(photos, style_picture.parent, 32)

    def drawn(workers: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        pairs, planned = near_pairs(pictures, 5, 2, workers), plans(pictures, 5, workers)
        return [next(pairs) for _ in range(3)], [next(planned).style for _ in range(3)]

    for own, others in zip(drawn(0), drawn(2), strict=True):
        for one, other in zip(own, others, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    first, second = drawn(0)[0][0].chunk(2)
    assert first.shape == (2, 3, 32, 32)
    assert 0 < (first - second).abs().mean() < 0.5


def test_errors_of_gram_matrices_changes() -> None:
    # Twice as strong answers: the changes of the Gram matrix are four times those wanted, so the error is 9.
    features = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    own, theirs = (fitting.change_of(fitting.gram_matrix(value)) for value in (2 * features, features))
    torch.testing.assert_close(fitting.relative_errors(own, theirs), torch.full((2,), 9.0))
