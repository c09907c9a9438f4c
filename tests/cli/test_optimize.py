import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fastnst.cli import main
from fastnst.cli import optimize as cli
from fastnst.cli.optimize import parse_style
from fastnst.errors import OutputError
from fastnst.exact.objective import PixelObjective
from fastnst.io.images import Picture, write_picture


@pytest.fixture
def arguments(photos: Path, style_picture: Path, loss_weights: Path, tmp_path: Path) -> list[str]:
    """A whole command line; its output is out.png."""
    return [
        "optimize",
        str(photos / "photo0.png"),
        *("--style", str(style_picture)),
        *("-o", str(tmp_path / "out.png")),
        *("--steps", "4", "--size", "24", "--precision", "float32"),
        *("--content-layers", "relu2_1"),
        *("--style-layers", "relu1_1", "--style-layers", "relu2_1"),
        *("--loss-weights", str(loss_weights)),
    ]


def status_of(arguments: list[str]) -> int:
    """Exit status of the command line."""
    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def stop_at(number: int, monkeypatch: pytest.MonkeyPatch, change: object = None) -> None:
    """Let the evaluation of that number raise Ctrl-C, or change its losses."""
    evaluate, count = PixelObjective.evaluate, iter(range(1, 1000))

    def evaluate_so(objective: PixelObjective, image: object):
        losses, gradient = evaluate(objective, image)
        if next(count) == number:
            if change is None:
                raise KeyboardInterrupt
            losses = losses | change
        return losses, gradient

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate_so)


def refuse_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(objective: PixelObjective, image: object):
        raise AssertionError("the work has started")

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate)


def test_without_weights_the_compact_network_judges_and_it_is_said(
    photos: Path,
    style_picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FASTNST_LOSS_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    output, report = tmp_path / "out.png", tmp_path / "out.json"
    words = ["--style", str(style_picture), "-o", str(output), "--json", str(report), "--steps", "2", "--size", "48"]
    assert status_of(["optimize", str(photos / "photo0.png"), *words]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Judged by the compact loss network, which comes with fastnst.")
    assert json.loads(report.read_text())["settings"]["loss_network"] == "compact"
    assert output.is_file()


def test_paints_a_picture_and_says_what_ran(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(arguments) == 0
    with Image.open(tmp_path / "out.png") as painted:
        assert painted.size == (24, 17)
        made_by = painted.getexif()[0x000B]
    assert re.search(r"optimized, waves\.png \([0-9a-f]{12}\), .*steps 4.*; judged by vgg19, .*sha256", made_by)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip().splitlines()[-1].startswith(f"{tmp_path / 'out.png'}: content ")
    assert status_of([*arguments, "--overwrite", "--verbose"]) == 0
    said = capsys.readouterr().err
    assert "vgg19, torchvision normalisation, tiny.safetensors" in said
    assert re.search(r" \d+ threads?, float32", said)


def test_json_holds_settings_and_history(arguments: list[str], tmp_path: Path) -> None:
    assert status_of([*arguments, "--json", str(tmp_path / "out.json")]) == 0
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["settings"]["steps"] == 4
    assert told["settings"]["style_layers"] == ["relu1_1", "relu2_1"]
    assert [step["step"] for step in told["history"]] == [1, 2, 3, 4]
    assert told["losses"].keys() == {"total", "content", "style", "total_variation"}
    assert told["photo"].endswith("photo0.png")
    assert told["style"].endswith("waves.png")


def test_transparency_and_profile_stay(arguments: list[str], tmp_path: Path) -> None:
    photo = Image.new("RGBA", (48, 36), (90, 140, 200, 255))
    photo.paste((0, 0, 0, 0), (0, 0, 24, 36))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo.save(tmp_path / "photo.png", icc_profile=profile)
    arguments[1] = str(tmp_path / "photo.png")
    assert status_of(arguments) == 0
    with Image.open(tmp_path / "out.png") as painted:
        assert painted.mode == "RGBA"
        alpha = np.asarray(painted)[..., 3]
        assert painted.info["icc_profile"] == profile
    assert alpha[:, :8].max() == 0
    assert alpha[:, 16:].min() == 255


def test_ctrl_c_keeps_the_best_picture(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(3, monkeypatch)
    assert status_of([*arguments, "--json", str(tmp_path / "out.json")]) == 130
    assert (tmp_path / "out.png").exists()
    assert json.loads((tmp_path / "out.json").read_text())["interrupted"] is True
    assert "stopped at step 2 of 4, this is the best picture so far" in capsys.readouterr().err


def test_divergence_keeps_the_best_picture_and_says_so(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(3, monkeypatch, {"content": float("nan")})
    assert status_of(arguments) == 1
    assert (tmp_path / "out.png").exists()
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("fastnst: step 3: the content loss is nan")
    assert last.endswith(f"({tmp_path / 'out.png'} holds the best picture until then)")


def test_divergence_at_once_writes_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of([*arguments, "--style-weight", "1e39"]) == 1
    assert not (tmp_path / "out.png").exists()
    assert "step 1: the total loss is inf, from the start; lower the weights" in capsys.readouterr().err


def test_save_every_writes_on_the_way(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[bool] = []
    evaluate = PixelObjective.evaluate

    def evaluate_so(objective: PixelObjective, image: object):
        there.append((tmp_path / "out.png").exists())
        return evaluate(objective, image)

    monkeypatch.setattr(PixelObjective, "evaluate", evaluate_so)
    assert status_of([*arguments, "--save-every", "2"]) == 0
    assert there == [False, False, True, True]


def test_nothing_is_overwritten_unasked(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, extra in (("out.png", []), ("out.json", ["--json", str(tmp_path / "out.json")])):
        (tmp_path / name).write_bytes(b"mine")
        with monkeypatch.context() as patch:
            refuse_to_work(patch)
            assert status_of([*arguments, *extra]) == 1
        assert f"{name}: already exists; --overwrite replaces it" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == b"mine"
        (tmp_path / name).unlink()


def test_given_pictures_and_the_painted_one_are_never_replaced_by_numbers(
    arguments: list[str], photos: Path, style_picture: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for path in (photos / "photo0.png", style_picture):
        before = path.read_bytes()
        assert status_of([*arguments, "--json", str(path), "--overwrite"]) == 1
        assert "is one of the given pictures" in capsys.readouterr().err
        assert path.read_bytes() == before
    assert status_of([*arguments, "--json", str(tmp_path / "." / "out.png"), "--overwrite"]) == 1
    assert "out.png: --json and --output name the same file" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("-o", "{folder}/gone/out.png", "gone/out.png: there is no folder"),
        ("-o", "{folder}/out.xyz", "out.xyz: suffix '.xyz'; expected one of .png"),
        ("-o", "{folder}", "expected"),
        ("--json", "{folder}", "is a folder; expected the name of a file"),
        ("--log-dir", "{folder}/text.jpg", "text.jpg: is a file; expected the name of a folder"),
        ("--resume", "{folder}/gone", "gone: nothing to resume; expected checkpoint.safetensors"),
        ("--style", "{folder}/gone.jpg", "gone.jpg: no such file"),
        ("--style", "{folder}/text.jpg", "text.jpg: is not a picture"),
        ("--init", "{folder}/gone.jpg", "gone.jpg: no such file"),
        ("--loss-weights", "{folder}/gone.pth", "gone.pth: no such file; expected the weights of vgg19"),
        ("--steps", "0", "--steps is 0; expected at least 1"),
        ("--content-layers", "relu22", "vgg19 has no layer 'relu22'; did you mean 'relu"),
    ],
)
def test_errors_come_before_the_work(
    option: str,
    value: str,
    message: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    refuse_to_work(monkeypatch)
    value = value.format(folder=tmp_path)
    if option in arguments:
        arguments[arguments.index(option) + 1] = value
    else:
        arguments += [option, value]
    assert status_of(arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("fastnst: ")
    assert message in lines[-1]
    assert not any("Traceback" in line for line in lines)


def settings_of(arguments: list[str], tmp_path: Path) -> dict[str, object]:
    assert status_of([*arguments, "--json", str(tmp_path / "out.json"), "--overwrite"]) == 0
    told: dict[str, object] = json.loads((tmp_path / "out.json").read_text())
    assert isinstance(told["settings"], dict)
    return told["settings"]


def test_preset_and_what_overrides_it(arguments: list[str], tmp_path: Path) -> None:
    used = settings_of([*arguments, "--preset", "cs229", "--tv-weight", "0.5"], tmp_path)
    assert json.loads((tmp_path / "out.json").read_text())["preset"] == "cs229"
    assert (used["optimizer"], used["content_weight"], used["aspect"]) == ("adam", 1e-4, "crop")
    assert used["content_layer_weights"] == []  # other layers were given
    assert (used["tv_weight"], used["steps"], used["size"]) == (0.5, 4, 24)
    assert used["init"] == "noise"


def test_unknown_names_and_a_missing_photo(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of([*arguments, "--preset", "cs299"]) == 1
    assert "no preset is called 'cs299'; did you mean 'cs229'?" in capsys.readouterr().err
    assert status_of([*arguments, "--loss-network", "vgg18"]) == 2
    assert 'Choose from: "auto", "vgg19", "vgg19-caffe", "vgg16", "vgg16-caffe", "compact"' in capsys.readouterr().err
    arguments[1] = str(tmp_path / "gone.jpg")
    assert status_of(arguments) == 1
    assert "gone.jpg: no such file" in capsys.readouterr().err


def test_several_styles(arguments: list[str], photos: Path, style_picture: Path, tmp_path: Path) -> None:
    alone, twice, mixed = (
        settings_and_frame([*arguments, *extra], tmp_path)
        for extra in (
            [],
            ["--style", f"{style_picture}:1"],
            ["--style", f"{photos / 'photo3.png'}:3"],
        )
    )
    assert np.array_equal(alone, twice)
    assert not np.array_equal(alone, mixed)


def settings_and_frame(arguments: list[str], tmp_path: Path) -> np.ndarray:
    settings_of(arguments, tmp_path)
    with Image.open(tmp_path / "out.png") as painted:
        return np.asarray(painted)


def test_masks(arguments: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def mask(name: str, size: tuple[int, int], right: str) -> str:
        picture = Image.new("RGB", size, "red")
        picture.paste(right, (size[0] // 2, 0, *size))
        picture.save(tmp_path / name)
        return str(tmp_path / name)

    masks = ["--content-mask", mask("content.png", (100, 72), "blue"), "--style-mask"]
    plain = settings_and_frame(arguments, tmp_path)
    guided = settings_and_frame([*arguments, *masks, mask("style.png", (96, 80), "blue")], tmp_path)
    assert not np.array_equal(plain, guided)
    by_colour = [*masks, "#ff0000", "--style", str(photos / "photo3.png"), "--style-mask", "#0000FF"]
    assert settings_of([*arguments, *by_colour], tmp_path)
    capsys.readouterr()
    for extra, message in (
        ([*masks, "#ff0000"], "a region of color #0000ff (50.0% of it) that no style mask has"),
        ([*masks, "#ff00"], "--style-mask #ff00: expected a color such as #ff0000, a picture, or none"),
        (masks[:2], "regions need masks of both sides"),
        ([*masks, "none", "--style-mask", "none"], "--style-mask is given 2 times, --style 1 times"),
        ([*masks, str(tmp_path / "gone.png")], "gone.png: no such file"),
        ([*masks, mask("style.png", (80, 80), "blue")], "--style-mask is 80x80 pixels, its style picture 96x80"),
    ):
        assert status_of([*arguments, *extra, "--overwrite"]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a.jpg", ("a.jpg", 1.0)),
        ("a.jpg:0.25", ("a.jpg", 0.25)),
        ("a:b.jpg:2", ("a:b.jpg", 2.0)),
        ("C:\\a.jpg", ("C:\\a.jpg", 1.0)),
        ("a:b.jpg", ("a:b.jpg", 1.0)),
        (":3", (":3", 1.0)),
    ],
)
def test_style_and_weight(text: str, parsed: tuple[str, float]) -> None:
    assert parse_style(text) == (Path(parsed[0]), parsed[1])


def test_a_file_whose_name_ends_in_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take:2").touch()
    assert parse_style("take:2") == (Path("take:2"), 1.0)


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "0,5", "50%", "left out"])
def test_impossible_weights_of_styles(weight: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments[arguments.index("--style") + 1] += ":" if weight == "left out" else f":{weight}"
    assert status_of(arguments) == 1
    assert f"the weight is {weight}; expected a number from 0 on, e.g. " in capsys.readouterr().err


def test_resume_goes_on_after_ctrl_c(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = ["--log-dir", str(tmp_path / "log")]
    assert status_of([*arguments, "--json", str(tmp_path / "whole.json")]) == 0
    whole = np.asarray(Image.open(tmp_path / "out.png"))
    (tmp_path / "out.png").unlink()
    with pytest.MonkeyPatch.context() as patch:
        stop_at(3, patch)
        assert status_of([*arguments, *log]) == 130
    assert "stopped at step 2 of 4" in capsys.readouterr().err
    assert status_of([*arguments, *log, "--json", str(tmp_path / "out.json")]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), whole)
    told, expected = (json.loads((tmp_path / name).read_text())["history"] for name in ("out.json", "whole.json"))
    assert [step["total"] for step in told] == [step["total"] for step in expected]


def test_a_log_of_another_picture_is_not_begun_anew_unasked(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    assert status_of([*arguments, "--log-dir", str(log)]) == 0
    assert status_of([*arguments, "--log-dir", str(log)]) == 0
    assert f"{log}: going on with the run that it holds" in capsys.readouterr().err
    arguments[arguments.index("-o") + 1] = str(tmp_path / "other.png")
    assert status_of([*arguments, "--log-dir", str(log)]) == 1
    assert f"log: holds a run of another picture than {tmp_path / 'other.png'}; --resume" in capsys.readouterr().err
    assert status_of([*arguments, "--resume", str(log)]) == 0
    assert "going on with" in capsys.readouterr().err
    assert status_of([*arguments, "--log-dir", str(log), "--resume", "never", "--overwrite"]) == 0
    assert "going on with" not in capsys.readouterr().err


def test_a_picture_of_somebody_else_is_not_replaced_by_a_run_that_goes_on(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = ["--log-dir", str(tmp_path / "log")]
    assert status_of([*arguments, *log]) == 0
    other = tmp_path / "other.png"
    other.write_bytes(b"precious")
    arguments[arguments.index("-o") + 1] = str(other)
    assert status_of([*arguments, *log]) == 1
    assert "other.png: already exists; --overwrite replaces it" in capsys.readouterr().err
    assert other.read_bytes() == b"precious"


def test_a_photo_is_enlarged_where_that_is_asked_for(arguments: list[str], tmp_path: Path) -> None:
    output, arguments[arguments.index("--size") + 1] = tmp_path / "out.png", "120"
    with Image.open(arguments[1]) as photo:
        own = max(photo.size)
    assert own < 120
    assert status_of(arguments) == 0
    with Image.open(output) as painted:
        assert max(painted.size) == own
    assert status_of([*arguments, "--enlarge", "--overwrite"]) == 0
    with Image.open(output) as painted:
        assert max(painted.size) == 120


def test_the_memory_is_told_before_the_work(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of([*arguments, "--verbose", "--json", str(tmp_path / "out.json")]) == 0
    assert re.search(r"about \d+\.\d GB of memory\n", capsys.readouterr().err)
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["planned_memory_mb"] > 50
    assert told["peak_memory_mb"] is None or told["peak_memory_mb"] > 50


def test_a_full_disk_does_not_take_the_picture_along(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, picture: Picture, **_: bool) -> None:
        if path == tmp_path / "out.png":
            raise OutputError(f"{path}: cannot be written (No space left on device)")
        write_picture(path, picture)

    rescue = tmp_path / "elsewhere"
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(rescue))
    monkeypatch.setattr(cli, "write_picture", refuse)
    assert status_of(arguments) == 1
    (kept,) = rescue.iterdir()
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == (
        f"fastnst: {tmp_path / 'out.png'}: cannot be written (No space left on device); the picture is kept as {kept}"
    )
    with Image.open(kept) as painted:
        assert painted.size == (24, 17)
    monkeypatch.setattr(cli, "write_picture", lambda path, _, **__: refuse(tmp_path / "out.png", Picture(frame=None)))
    assert status_of(arguments) == 1
    assert capsys.readouterr().err.strip().endswith("cannot be written (No space left on device)")


@pytest.mark.parametrize("every", ["0", "3"])
def test_a_log_that_cannot_be_kept_does_not_take_the_picture_along(
    every: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise OutputError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("fastnst.exact.checkpoint.save_checkpoint", refuse)
    assert status_of([*arguments, "--log-dir", str(tmp_path / "log"), "--save-every", every]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint.safetensors: cannot be written (No space left on device)" in last
    assert last.endswith(f"({tmp_path / 'out.png'} holds the best picture until then)")
    with Image.open(tmp_path / "out.png") as painted:
        assert painted.size == (24, 17)
