"""Networks of several styles, and of any strength."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from fastnst.errors import CheckpointError
from fastnst.models.checkpoint import (
    ModelInfo,
    build_network,
    conditions_of,
    in_words,
    init_from,
    load_model,
    save_model,
    size_of,
)
from fastnst.models.network import (
    PLAIN,
    Chain,
    ConditionalInstanceNorm2d,
    ConditionalScale,
    Conditions,
    StyleNetwork,
    mixed,
)

JOHNSON: dict[str, int | str] = {"kind": "johnson", "width": 4, "blocks": 1}
LIVE: dict[str, int | str] = {"kind": "live", "width": 16, "blocks": 1}
BOTH = pytest.mark.parametrize("size", [JOHNSON, LIVE], ids=["johnson", "live"])


def network(spec: dict[str, int | str], seed: int = 0) -> StyleNetwork:
    """A network whose tables have rows of their own."""
    torch.manual_seed(seed)
    made = build_network(spec)
    for part in made.modules():
        if isinstance(part, ConditionalInstanceNorm2d | ConditionalScale):
            for table in part.parameters(recurse=False):
                nn.init.normal_(table, 1, 0.3)
    if made.kept is not None:
        nn.init.uniform_(made.kept, 0, 0.5)
    return made


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 64, 72, generator=torch.Generator().manual_seed(1))


def test_shares_of_styles_are_their_weights() -> None:
    weights = torch.tensor([0.25, 0.75, 0.0])
    assert_close(Conditions(3).shares(weights, None), weights)
    assert_close(Conditions(3).shares(None, None), torch.full((3,), 1 / 3))
    assert PLAIN.shares(None, None) is None
    assert (Conditions(3).rows, PLAIN.rows, Conditions(3, True).rows, Conditions(1, True).rows) == (3, 1, 10, 4)


def test_shares_of_strengths_by_hand() -> None:
    told = Conditions(2, strength=True)
    weights = torch.tensor([0.25, 0.75])
    # The styles; the photo; what each style adds at 0.5 and at 1.5. Strength 0.75 lies halfway from 0.5 to 1.
    for strength, added in (
        (0.75, [0, 0.125, 0, 0.375, 0]),
        (0.0, [1, 0, 0, 0, 0]),
        (0.1, [0.8, 0.05, 0, 0.15, 0]),
        (1.0, [0, 0, 0, 0, 0]),
        (1.25, [0, 0, 0.125, 0, 0.375]),
        (1.5, [0, 0, 0.25, 0, 0.75]),
    ):
        assert_close(told.shares(weights, torch.tensor([strength])), torch.tensor([0.25, 0.75, *added]))
    assert_close(told.shares(weights, None), told.shares(weights, torch.tensor([1.0])))
    assert_close(told.ones(1)[:, 0], torch.tensor([1.0, 1, 0, 0, 0, 0, 0]))


def test_shares_of_each_picture() -> None:
    told = Conditions(2, strength=True)
    weights, strengths = torch.tensor([[1.0, 0.0], [0.25, 0.75]]), torch.tensor([[1.0], [0.75]])
    together = told.shares(weights, strengths)
    assert together is not None
    for row in range(2):
        assert_close(together[row], told.shares(weights[row], strengths[row]))
    one = Conditions(1, strength=True).shares(torch.ones(2, 1), strengths)
    assert_close(one, torch.tensor([[1.0, 0, 0, 0], [1, 0, 0.5, 0]]))
    shared = told.shares(torch.tensor([0.25, 0.75]), strengths)
    assert_close(shared, torch.tensor([[0.25, 0.75, 0, 0, 0, 0, 0], [0.25, 0.75, 0, 0.125, 0, 0.375, 0]]))


def test_mixed_rows_by_hand() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 8.0]])
    assert_close(mixed(table, torch.tensor([0.25, 0.75])), torch.tensor([2.5, 6.5]))
    assert_close(mixed(table, torch.eye(2)), table)
    assert_close(mixed(torch.tensor([4.0, 8.0]), torch.tensor([[0.25, 0.75]])), torch.tensor([7.0]))


def test_conditional_normalisation_by_hand() -> None:
    norm = ConditionalInstanceNorm2d(2, Conditions(2))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        norm.bias.copy_(torch.tensor([[0.0, 10.0], [20.0, 30.0]]))
    # Channel a: 1 and 3, mean 2, deviation 1. Channel b: 0 and 8, mean 4, deviation 4. Both become -1 and 1.
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 8.0]]]])
    first = torch.tensor([[[[-1.0, 1.0]], [[8.0, 12.0]]]])
    even = torch.tensor([[[[8.0, 12.0]], [[17.0, 23.0]]]])  # scales 2 and 3, shifts 10 and 20
    assert_close(norm(x, torch.tensor([1.0, 0.0])), first, atol=1e-4, rtol=0)
    assert_close(norm(x, torch.tensor([0.5, 0.5])), even, atol=1e-4, rtol=0)
    both = norm(torch.cat([x, 5 * x]), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert_close(both, torch.cat([first, even]), atol=1e-4, rtol=0)


def test_a_plain_normalisation_is_pytorchs() -> None:
    ours, theirs = ConditionalInstanceNorm2d(3), nn.InstanceNorm2d(3, affine=True)
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    nn.init.normal_(ours.weight)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 5, 7)
    assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_a_plain_network_has_nothing_more() -> None:
    for spec in (JOHNSON, LIVE):
        names = build_network(spec).state_dict()
        assert not any(name.startswith(("kept", "beside")) for name in names)
        assert all(value.ndim in (1, 4) for value in names.values())


def test_scales_are_not_rounded_under_autocast() -> None:
    norm = ConditionalInstanceNorm2d(1, Conditions(2))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([[1.001], [1.0]]))
    x = torch.tensor([[[[-1.0, 1.0]]]])
    with torch.autocast("cpu", torch.bfloat16):
        painted = norm(x, torch.tensor([1.0, 0.0]))
    assert_close(painted[0, 0, 0, 1], torch.tensor(1.001), atol=1e-4, rtol=0)


def test_a_chain_hands_shares_on() -> None:
    scale = ConditionalScale(1, Conditions(2))
    with torch.no_grad():
        assert scale.scale is not None
        scale.scale.copy_(torch.tensor([[2.0], [6.0]]))
    chain = Chain(nn.ReLU(), Chain(scale), scale)
    x = torch.tensor([[[[-1.0, 1.0]]]])
    assert_close(chain(x, torch.tensor([0.5, 0.5])), torch.tensor([[[[0.0, 16.0]]]]))
    assert_close(chain(x), x.relu())


@BOTH
def test_pictures_of_a_batch_have_their_own_conditions(size: dict[str, int | str], image: Tensor) -> None:
    made = network({**size, "styles": 3, "strength": 1})
    weights, strengths = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.2, 0.3]]), torch.tensor([[1.2], [0.4]])
    together = made(image, weights, strengths)
    for place in range(2):
        alone = made(image[place : place + 1], weights[place], strengths[place])
        assert_close(together[place : place + 1], alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - made(image[:1], weights[1], strengths[0])[0]).abs().mean() > 0.01


@BOTH
def test_strength_0_is_the_image(size: dict[str, int | str], image: Tensor) -> None:
    made = network({**size, "styles": 2, "strength": 1})
    for weights in ([1.0, 0.0], [0.3, 0.7]):
        assert_close(made(image, torch.tensor(weights), torch.zeros(1)), image, rtol=0, atol=1e-5)
    assert (made(image, None, torch.full((1,), 0.3)) - image).abs().mean() > 0.01


@BOTH
def test_every_row_learns_from_its_own_pictures_alone(size: dict[str, int | str], image: Tensor) -> None:
    made = network({**size, "styles": 2, "strength": 1})
    made(image, torch.tensor([0.0, 1.0]), torch.tensor([1.25])).square().sum().backward()
    rows = [False, True, False, False, False, False, True]  # the second style's own, and what it adds at 1.5
    for name, value in made.named_parameters():
        if value.shape[0] == len(rows) and value.ndim == 2:
            assert value.grad is not None
            assert (value.grad.abs().sum(1) > 0).tolist() == rows, name
    assert made.kept is not None
    assert made.kept.grad is not None
    assert (made.kept.grad != 0).tolist() == rows


@BOTH
def test_a_network_of_several_styles_begins_with_one(size: dict[str, int | str], image: Tensor) -> None:
    single, trio = network(size, seed=1), network({**size, "styles": 3, "strength": 1}, seed=2)
    init_from(trio, single)
    for weights, strength in (([1.0, 0.0, 0.0], 1.0), ([0.2, 0.3, 0.5], 0.7)):
        painted = trio(image, torch.tensor(weights), torch.tensor([strength]))
        assert_close(painted, single(image), rtol=1e-4, atol=1e-5)


@BOTH
def test_more_styles_begin_with_the_even_mix(size: dict[str, int | str], image: Tensor) -> None:
    duo, trio = network({**size, "styles": 2}, seed=1), network({**size, "styles": 3}, seed=2)
    init_from(trio, duo)
    assert_close(trio(image, torch.tensor([0.0, 0.0, 1.0])), duo(image), rtol=1e-4, atol=1e-5)
    same = network({**size, "styles": 2}, seed=3)
    init_from(same, duo)
    weights = torch.tensor([0.9, 0.1])
    assert_close(same(image, weights), duo(image, weights), rtol=0, atol=0)
    strong = network({**size, "styles": 2, "strength": 1}, seed=4)
    init_from(strong, duo)
    assert_close(strong(image, weights, torch.tensor([1.4])), duo(image, weights), rtol=1e-4, atol=1e-5)
    single = network(size, seed=5)
    init_from(single, strong)
    if not any(isinstance(part, ConditionalScale) for part in single.modules()):
        assert_close(single(image), duo(image), rtol=1e-4, atol=1e-5)


@BOTH
def test_styles_begin_as_those_of_the_start_that_are_named(size: dict[str, int | str], image: Tensor) -> None:
    trio = network({**size, "styles": 3, "strength": 1}, seed=1)
    duo = network({**size, "styles": 2, "strength": 1}, seed=2)
    init_from(duo, trio, [2, 0])
    for strength in (0.0, 0.3, 0.8, 1.0, 1.4):
        shared = torch.tensor([strength])
        painted = duo(image, torch.tensor([0.6, 0.4]), shared)
        assert_close(painted, trio(image, torch.tensor([0.4, 0.0, 0.6]), shared), rtol=1e-4, atol=1e-5)
    weak = network({**size, "styles": 2}, seed=3)
    init_from(weak, network({**size, "styles": 3}, seed=4), [1, 1])
    old = network({**size, "styles": 3}, seed=4)
    assert_close(weak(image, torch.tensor([0.2, 0.8])), old(image, torch.tensor([0.0, 1.0, 0.0])), rtol=1e-4, atol=1e-5)


@BOTH
def test_styles_survive_the_file(size: dict[str, int | str], image: Tensor, tmp_path: Path) -> None:
    spec = {**size, "styles": 2, "strength": 1}
    made = network(spec).eval()
    info = ModelInfo(style="duo", network=spec, provenance="test", styles=("munch", "monet"))
    save_model(tmp_path / "m.safetensors", made, info)
    loaded, read = load_model(tmp_path / "m.safetensors")
    assert read == info
    assert loaded.conditions == Conditions(2, True)
    weights = torch.tensor([0.9, 0.1])
    assert_close(loaded(image, weights), made(image, weights), rtol=0, atol=0.02)  # weights in float16
    save_model(tmp_path / "wrong.safetensors", made, ModelInfo("duo", spec, "test", styles=("munch",)))
    with pytest.raises(CheckpointError, match=r"1 names, .* 2 styles, strength"):
        load_model(tmp_path / "wrong.safetensors")


def test_descriptions() -> None:
    spec = {**JOHNSON, "styles": 3, "strength": 1}
    assert conditions_of(spec) == Conditions(3, True)
    assert conditions_of(JOHNSON) == PLAIN
    assert size_of(spec) == JOHNSON
    assert in_words(spec) == "johnson 4 1, 3 styles, strength"
    assert in_words(JOHNSON) == "johnson 4 1"
    assert in_words({**LIVE, "strength": 1}) == "live 16 1, strength"
