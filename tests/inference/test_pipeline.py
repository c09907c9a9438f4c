"""Styles, strength, colours and a mask together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from fastnst.errors import InputError, SettingError, StyleError
from fastnst.inference.effects import Effects, face_weights, find_faces, read_effects
from fastnst.inference.paintings import Refinement, choose_refinement
from fastnst.inference.pipeline import StylePipeline
from fastnst.inference.session import StyleSession
from fastnst.io.blending import blend
from fastnst.io.images import Frame
from fastnst.io.noise import with_noise
from fastnst.io.styles import StyleChoice

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'
INVERT = (
    "g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> { stylized = Sub(white, frame) }"
)
BLACK = "g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { stylized = Sub(frame, frame) }"
STRONG = """
g (uint8[N, H, W, 3] frame, float[1] strength) => (uint8[N, H, W, 3] stylized) <float ten = {10}> {
    plus = Mul(strength, ten)
    whole = Cast <to = 2> (plus)
    stylized = Add(frame, whole)
}"""

Write = Callable[[str, str], str]


@pytest.fixture
def style(tmp_path: Path) -> Write:
    def write(graph: str, name: str) -> str:
        onnx.save(onnx.parser.parse_model(HEADER + graph), tmp_path / f"{name}.onnx")
        return str(tmp_path / f"{name}.onnx")

    return write


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """A map: left half red, right half blue."""
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, :20, 0], picture[:, 20:, 2] = 255, 255
    Image.fromarray(picture).save(tmp_path / "map.png")
    return tmp_path / "map.png"


PHOTO = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)


def paint(style: str | None, **settings: object) -> Frame:
    with StylePipeline(style, Effects(**settings), provider="cpu") as pipeline:  # type: ignore[arg-type]
        return pipeline(PHOTO)


def test_strength_of_a_network_with_the_input_goes_there(style: Write) -> None:
    np.testing.assert_array_equal(paint(style(STRONG, "strong"), strength=1.5), PHOTO + np.uint8(15))


@pytest.fixture
def mix(write_duo: Callable[[Path], None], tmp_path: Path) -> str:
    write_duo(tmp_path / "mix.onnx")
    return str(tmp_path / "mix.onnx")


def test_a_mix_of_styles(style: Write, mix: str) -> None:
    assert paint(mix)[0, 0, 0] == 120
    assert paint(mix, mix="munch:3,monet:1")[0, 0, 0] == 80
    assert paint(f"{mix}@monet")[0, 0, 0] == 200
    with pytest.raises(SettingError, match=r"mix.onnx@monet names a style, and --mix munch too; give one"):
        paint(f"{mix}@monet", mix="munch")
    assert paint(mix, mix="munch")[0, 0, 0] == 40
    with pytest.raises(SettingError, match="'3' is no style of this network"):
        paint(mix, mix="3")
    with pytest.raises(SettingError, match="knows one style"):
        paint(style(INVERT, "invert"), mix="munch")
    with StylePipeline(mix, Effects(mix="monet:0.5"), provider="cpu") as pipeline:
        assert pipeline.style == "mix@monet:0.5"
        assert pipeline.describe((20, 40)).startswith("mix@monet:0.5 (")
        assert pipeline.describe((20, 40), style_weights=[3, 1]).startswith("mix@munch:0.75,monet:0.25 (")


def test_regions_of_one_network_in_its_several_styles(mix: str, halves: Path) -> None:
    painted = paint(mix, mix="munch", mask=halves, region=(f"blue={mix}@monet",))
    assert painted[0, [0, 39], 0].tolist() == [40, 200]
    opened: list[Path] = []

    def count(path: Path, **options: object) -> StyleSession:
        opened.append(path)
        return StyleSession(path, **options)  # type: ignore[arg-type]

    effects = Effects(mask=halves, region=(f"blue={mix}@monet",))
    with StylePipeline(mix, effects, provider="cpu", open_session=count) as pipeline:
        # Weights for the call go to the style itself, not to the regions that the same network paints.
        assert pipeline(PHOTO, style_weights={"munch": 1})[0, [0, 39], 0].tolist() == [40, 200]
    assert opened == [Path(mix)]
    with pytest.raises(SettingError, match="--mix is given without --style"):
        paint(None, mix="munch", mask=halves, region=(f"blue={mix}@monet",))


def test_styles_that_nobody_mixed_are_said_once(
    mix: str, halves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StylePipeline(mix, Effects(mask=halves, region=(f"blue={mix}",)), provider="cpu") as pipeline:
        assert pipeline.notes == [f"{mix}: stylizes all of its styles alike; {mix}@NAME stylizes one of them"]
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path))
    with StylePipeline("mix", Effects(), provider="cpu") as pipeline:
        assert pipeline.notes == ["mix: stylizes all of its styles alike; mix@NAME stylizes one of them"]
    with StylePipeline(f"{mix}@monet", Effects(), provider="cpu") as pipeline:
        assert pipeline.notes == []


def test_switching_reuses_the_provider_and_frees_what_no_region_needs(
    tmp_path: Path, halves: Path, fake_session: type
) -> None:
    sessions: list[Any] = []
    asked: list[tuple[str, str | None]] = []

    def opened(path: Path, *, provider: str, prefer: str | None, **_options: object) -> Any:
        asked.append((provider, prefer))
        sessions.append(fake_session(lambda frame: np.full_like(frame, 10 * len(path.stem)), path=path))
        return sessions[-1]

    one, two, three = (tmp_path / f"{name}.onnx" for name in ("a", "bb", "ccc"))
    for path in (one, two, three):
        path.touch()
    effects = Effects(mask=halves, region=(f"blue={one}",))
    with StylePipeline(str(two), effects, open_session=opened) as pipeline:
        assert pipeline(PHOTO)[0, [0, 39], 0].tolist() == [20, 10]
        pipeline.switch(one)
        assert pipeline(PHOTO)[0, [0, 39], 0].tolist() == [10, 10]
        assert [session.closed for session in sessions] == [True, False]
        pipeline.switch(three)
        assert pipeline(PHOTO)[0, [0, 39], 0].tolist() == [30, 10]
        assert [session.closed for session in sessions] == [True, False, False]
    assert all(session.closed for session in sessions)
    assert asked == [("auto", None), ("auto", "cpu"), ("auto", "cpu")]


def test_painted_at_another_size_photo_and_painting_meet_at_the_photos(style: Write) -> None:
    photo = np.zeros((20, 40, 3), np.uint8)
    photo[:, ::2] = 200
    with StylePipeline(style(INVERT, "invert"), Effects(strength=0.5), provider="cpu") as pipeline:
        stylized = pipeline(photo, size=(10, 20))
    # Half the size, all is 100, and painted 155: each column of the photo moves by half of the 55.
    np.testing.assert_allclose(stylized[0, :2, 0], [227.5, 27.5], atol=0.5)
    assert stylized.shape == photo.shape


def test_larger_strokes_are_painted_smaller_and_detail_stays(fake_session: Callable[..., Any]) -> None:
    sizes: list[tuple[int, ...]] = []

    def paint_all(frame: Frame) -> Frame:
        sizes.append(frame.shape[:2])
        return frame + 30

    photo = PHOTO // 2
    for stroke, size in ((1.0, (20, 40)), (2.0, (10, 20)), (0.5, (40, 80)), ("auto", (20, 40))):
        opened = fake_session(paint_all)
        with StylePipeline(
            "starry", Effects(stroke=stroke, detail="photo"), open_session=lambda *_a, o=opened, **_k: o
        ) as pipeline:  # type: ignore[arg-type]
            np.testing.assert_array_equal(pipeline(photo), photo + 30)
        assert sizes.pop() == size


def test_automatic_strokes_paint_every_picture_at_one_size() -> None:
    sizes = ((100, 255), (100, 256), (300, 900), (1024, 100), (3072, 512), (1536, 2048), (6000, 8000))
    strokes = [Effects().stroke_for(size) for size in sizes]
    assert strokes == pytest.approx([1, 0.5, 900 / 1024, 1, 2, 2, 7.8125])
    assert [Effects().of_film().stroke_for(size) for size in sizes] == [1, 1, 1, 1, 2, 2, 7.8125]
    assert Effects(stroke=0.25).of_film().stroke_for((100, 300)) == 0.25


@pytest.mark.parametrize("stroke", [0.1, 100.0, float("nan")])
def test_strokes_of_no_use(stroke: float) -> None:
    with pytest.raises(SettingError, match="--stroke is"):
        Effects(stroke=stroke)


def test_a_style_for_each_region(style: Write, halves: Path) -> None:
    regions = (f"red={style(INVERT, 'invert')}", f"blue={style(BLACK, 'black')}")
    painted = paint(None, mask=halves, region=regions)
    np.testing.assert_array_equal(painted[:, :20], 255 - PHOTO[:, :20])
    assert not painted[:, 20:].any()


def test_the_rest_gets_the_style_or_stays(style: Write, halves: Path) -> None:
    invert, black = style(INVERT, "invert"), style(BLACK, "black")
    left = paint(None, mask=halves, region=(f"red={black}",))
    np.testing.assert_array_equal(left[:, 20:], PHOTO[:, 20:])
    assert not left[:, :20].any()
    both = paint(invert, mask=halves, region=(f"red={black}",))
    np.testing.assert_array_equal(both[:, 20:], 255 - PHOTO[:, 20:])
    kept = paint(invert, mask=halves, region=("red=photo",))
    np.testing.assert_array_equal(kept[:, :20], PHOTO[:, :20])
    np.testing.assert_array_equal(kept[:, 20:], 255 - PHOTO[:, 20:])


def test_a_style_named_twice_is_loaded_once(style: Write, halves: Path) -> None:
    invert, black = style(INVERT, "invert"), style(BLACK, "black")
    networks, mask = read_effects(invert, Effects(mask=halves, region=(f"red={black}", f"blue={black}")))
    assert networks == [StyleChoice(Path(invert)), StyleChoice(Path(black))]
    assert mask is not None
    assert [int(weights[0, 0]) for weights in mask.weights((20, 40))] == [0, 255]


def test_paintings_without_a_pixel_are_not_painted(halves: Path, style: Write) -> None:
    class Fails(StyleSession):
        def __call__(self, frames: Frame, **options: object) -> Frame:
            raise AssertionError

    effects = Effects(mask=halves, region=("red=photo", "blue=photo"))
    with StylePipeline(style(INVERT, "invert"), effects, provider="cpu", open_session=Fails) as pipeline:
        np.testing.assert_array_equal(pipeline(PHOTO), PHOTO)


def test_strength_and_colors_go_with_regions(style: Write, halves: Path) -> None:
    invert, strong = style(INVERT, "invert"), style(STRONG, "strong")
    painted = paint(None, mask=halves, region=(f"red={invert}", f"blue={strong}"), strength=0.5)
    np.testing.assert_allclose(painted[:, :20], 127.5, atol=1)
    np.testing.assert_array_equal(painted[:, 20:], PHOTO[:, 20:] + np.uint8(5))
    recolored = paint(style(BLACK, "black"), mask=halves, region=("red=photo",), preserve_color=True)
    np.testing.assert_array_equal(recolored[:, :20], PHOTO[:, :20])


def test_identity_names_all_that_levels_depend_on(style: Write, mix: str, halves: Path) -> None:
    def identity(path: str, **settings: object) -> dict[str, str]:
        with StylePipeline(path, Effects(**settings), provider="cpu") as pipeline:  # type: ignore[arg-type]
            return pipeline.identity

    invert = style(INVERT, "invert")
    identities = [
        identity(invert),
        identity(style(BLACK, "black")),
        identity(invert, strength=0.5),
        identity(invert, preserve_color=True),
        identity(invert, mask=halves),
        identity(invert, mask=halves, region=("red=photo",)),
        identity(mix),
        identity(mix, mix="munch"),
        identity(f"{mix}@monet"),
    ]
    assert len({each["look"] for each in identities}) == len(identities)
    assert identity(invert) == identities[0]


def test_what_cannot_be(style: Write, halves: Path) -> None:
    with pytest.raises(SettingError, match="--style is missing"):
        StylePipeline(None, Effects())
    with pytest.raises(SettingError, match="--style is missing"):
        StylePipeline(None, Effects(mask=halves, region=("red=photo",)))
    with pytest.raises(StyleError, match="no style 'nonsuch'"):
        StylePipeline(None, Effects(mask=halves, region=("red=nonsuch",)))
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        StylePipeline(style(INVERT, "invert"), Effects(mask=Path("gone.png")))
    words = "is not the shape of the picture, 64x64"
    pipeline = StylePipeline(style(INVERT, "invert"), Effects(mask=halves), provider="cpu")
    with pipeline, pytest.raises(InputError, match=words):
        pipeline(np.zeros((64, 64, 3), np.uint8))


def test_a_batch_of_large_pictures_is_painted_one_by_one(fake_session: Callable[..., Any]) -> None:
    opened = fake_session(lambda frame: frame + 30)
    with StylePipeline("starry", Effects(stroke=2.0), open_session=lambda *_a, **_k: opened) as pipeline:
        batch = np.stack([PHOTO, PHOTO[::-1]]) // 2
        np.testing.assert_array_equal(pipeline(batch), batch + 30)


def test_looks_multiply_stroke_and_strength(style: Write) -> None:
    photo = np.full((20, 40, 3), 100, np.uint8)
    with StylePipeline(style(INVERT, "invert"), Effects(look="subtle", strength=0.5), provider="cpu") as pipeline:
        assert pipeline.painted_size((20, 40)) == (26, 53)
        # 0.5 * 0.6 of the way from 100 to 155.
        np.testing.assert_allclose(pipeline(photo), 100 + 0.3 * 55, atol=1)


def test_faces_of_a_portrait_keep_more_of_the_photo(fake_session: Callable[..., Any], tmp_path: Path) -> None:
    faces = np.zeros((20, 40), np.uint8)
    faces[:, :20] = 255
    Image.fromarray(faces).save(tmp_path / "faces.png")
    photo = np.full((20, 40, 3), 100, np.uint8)
    effects, opened = Effects(look="portrait", faces=tmp_path / "faces.png"), fake_session(lambda frame: 255 - frame)
    with StylePipeline("starry", effects, open_session=lambda *_a, **_k: opened) as pipeline:
        stylized = pipeline(photo)
    assert [size for size, _, _ in opened.calls] == [(20, 40, 3), (40, 80, 3)]  # faces in strokes half as large
    np.testing.assert_allclose(stylized[:, :20], 100 + 0.65 * 55, atol=1)
    np.testing.assert_array_equal(stylized[:, 20:], 155)


def test_faces_are_ellipses_that_end_softly_of_portraits(tmp_path: Path) -> None:
    weights = face_weights((100, 100), [(30.0, 20.0, 40.0, 60.0)])
    assert weights[50, 50] == weights[50, 31] == 255
    assert 100 < weights[50, 20] < 156
    assert weights[50, 5] == weights[0, 0] == 0
    with pytest.raises(SettingError, match="without --look portrait"):
        Effects(faces=tmp_path / "faces.png")


def test_faces_without_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTNST_YUNET", str(tmp_path / "none.onnx"))
    with pytest.raises(SettingError, match="no such file; --faces MASK"):
        find_faces(PHOTO)
    (tmp_path / "none.onnx").write_bytes(b"no network")
    with pytest.raises(SettingError, match="OpenCV cannot run it"):
        find_faces(PHOTO)


class Brighter:
    """Refines by making all brighter."""

    on_progress: Callable[[float], None] | None = None

    def __init__(self) -> None:
        self.asked: list[tuple[Path, dict[str, float], float]] = []

    def __call__(self, given: Frame, painted: Frame, network: Path, styles: dict[str, float], strength: float) -> Frame:
        self.asked.append((network, styles, strength))
        return painted + 5


def test_what_networks_paint_is_refined_at_its_size(style: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    refine = Brighter()
    monkeypatch.setattr(Refinement, "open", lambda _: refine)
    photo = np.full((20, 40, 3), 100, np.uint8)
    path = style(INVERT, "invert")
    with StylePipeline(path, Effects(stroke=2.0), provider="cpu", refine=Refinement(3)) as pipeline:
        np.testing.assert_array_equal(pipeline(photo), 160)
        pipeline.on_progress(print)
        assert "refined 3" in pipeline.identity["look"]
    assert refine.asked == [(Path(path), {"invert": 1.0}, 1.0)]
    assert refine.on_progress is print


@pytest.mark.parametrize(
    ("quality", "steps", "painting", "words"),
    [("good", 5, None, "both given"), (None, None, Path("a.jpg"), "nothing is refined"), (None, -1, None, "from 0 to")],
)
def test_refinements_that_are_none(quality: Any, steps: int | None, painting: Path | None, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        choose_refinement(quality, steps, painting)


def test_qualities_are_numbers_of_steps() -> None:
    assert [choose_refinement(quality, None, None).steps for quality in ("draft", "good", "best")] == [0, 12, 100]  # type: ignore[arg-type]
    assert choose_refinement(None, 7, Path("a.jpg")) == Refinement(7, Path("a.jpg"))


KEEP = "g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { stylized = Identity(frame) }"
SHOWS = KEEP.replace("frame)", "frame, float[1] strength)", 1)


def test_a_network_gets_the_noise_that_it_was_trained_with_or_what_is_asked_for(style: Write) -> None:
    path = Path(style(KEEP, "keep"))
    assert (paint(str(path), input_noise=4) == with_noise(PHOTO, 4)).all()
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"input_noise": "9"})
    onnx.save(model, path)
    assert (paint(str(path)) == with_noise(PHOTO, 9)).all()
    assert (paint(str(path), input_noise=4) == with_noise(PHOTO, 4)).all()
    assert (paint(str(path), input_noise=0) == PHOTO).all()
    halfway = blend(with_noise(PHOTO, 9), PHOTO, 0.5)
    assert (paint(str(path), strength=0.5) == halfway).all(), "laid over the photo, it was painted at full strength"
    assert (paint(style(SHOWS, "shows"), strength=0.5, input_noise=8) == with_noise(PHOTO, 4)).all()


@pytest.mark.parametrize("written", ["much", "-1", "nan", "900"])
def test_a_network_with_an_impossible_noise_is_refused(style: Write, written: str) -> None:
    path = Path(style(KEEP, "keep"))
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"input_noise": written})
    onnx.save(model, path)
    with pytest.raises(StyleError, match=f"has the input_noise '{written}'; expected levels, 0 to 64"):
        paint(str(path))


CHECKED = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 far = {100}, uint8 bit = {4}> {
    darker = Div (frame, bit)
    stylized = Add (darker, far)
}"""


def test_detail_is_painted_and_colors_stay_those_of_the_first_strokes(style: Write) -> None:
    """The network squeezes contrast to a quarter and lightens; twice would be a sixteenth."""
    network = style(CHECKED, "checked")
    rng = np.random.default_rng(4)
    masses = np.repeat(np.repeat(rng.integers(60, 180, (4, 6, 3)), 32, axis=0), 32, axis=1)
    fine = np.where(np.add.outer(np.arange(128), np.arange(192)) % 2, 24, -24)[..., None]
    photo = (masses + fine).astype(np.uint8)
    with StylePipeline(network, Effects(stroke=4, detail="photo"), provider="cpu") as pipeline:
        kept = pipeline(photo)
    with StylePipeline(network, Effects(stroke=4), provider="cpu") as pipeline:
        painted = pipeline(photo)
        assert "the photo's detail" not in pipeline.describe((128, 192))
    contrast = [
        float(np.abs(np.diff(frame[8:24, 8:24].astype(float), axis=0)).mean()) for frame in (photo, kept, painted)
    ]
    assert contrast[1] == pytest.approx(contrast[0], rel=0.05)
    assert contrast[2] == pytest.approx(contrast[0] / 4, rel=0.2)
    coarse = [frame.reshape(4, 32, 6, 32, 3).mean(axis=(1, 3)) for frame in (kept, painted)]
    assert np.abs(coarse[0] - coarse[1]).max() < 3
    assert np.abs(coarse[0] - (100 + masses[::32, ::32] / 4)).max() < 6


def test_strokes_larger_than_the_picture_still_give_one(style: Write) -> None:
    with StylePipeline(style(CHECKED, "checked"), Effects(stroke=64), provider="cpu") as pipeline:
        assert pipeline(PHOTO).shape == PHOTO.shape


def test_detail_is_the_photos_where_strokes_are_hardly_larger_and_in_films(style: Write) -> None:
    network, photo = style(CHECKED, "checked"), np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    results = []
    for effects in (
        Effects(stroke=1.4),
        Effects(stroke=1.4, detail="photo"),
        Effects(stroke=2).of_film(),
        Effects(stroke=2),
    ):
        with StylePipeline(network, effects, provider="cpu") as pipeline:
            results.append(pipeline(photo))
    assert (results[0] == results[1]).all()
    assert (results[2] != results[3]).any()
