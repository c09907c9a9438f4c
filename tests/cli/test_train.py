import os
from pathlib import Path

import pytest

from fastnst import cli
from fastnst.cli.console import Console, content_folder
from fastnst.cli.train import LARGEST_RECIPE
from fastnst.training.settings import TrainSettings

REPOSITORY = Path(__file__).parents[2]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", *arguments])
    return int(ended.value.code or 0), capsys.readouterr().err.strip()


def tiny(tmp_path: Path, style_picture: Path, loss_weights: Path, photos: Path) -> Path:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
        style = {str(style_picture)!r}
        content = {str(photos)!r}
        loss-weights = {str(loss_weights)!r}
        name = "tiny"
        width = 2
        blocks = 1
        steps = 2
        crop-size = 64
        style_size = 64
        content_layers = ["relu2_1"]
        style_layers = ["relu1_1", "relu2_1"]
        workers = 0
        early-export-s = 0
        precision = "float32"
        """,
        encoding="utf-8",
    )
    return recipe


@pytest.fixture
def recipe(
    tmp_path: Path, style_picture: Path, loss_weights: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A small training, begun in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tiny(tmp_path, style_picture, loss_weights, photos)


@pytest.mark.slow
def test_a_recipe_of_several_styles_then_flags_then_resumed(
    recipe: Path, style_picture: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    styles = [str(style_picture), str(photos / "photo0.png")]
    recipe.write_text(recipe.read_text(encoding="utf-8").replace(repr(styles[0]), str(styles)), encoding="utf-8")
    status, said = run(capsys, "--recipe", str(recipe), "--steps", "1", "--license", "CC0-1.0", "--strength-input")
    assert status == 0, said
    folder = recipe.parent / "runs" / "tiny"
    card = (folder / "tiny.md").read_text(encoding="utf-8")
    assert "| steps | 1 |" in card
    assert "| crop_size | 64 |" in card
    assert "| license | CC0-1.0 |" in card
    assert "johnson 2 1 bilinear, 2 styles, strength" in card
    assert str(style_picture.parent) not in card
    assert str(photos) not in card
    assert (folder / "tiny.onnx").is_file()
    status, said = run(capsys, "--resume", str(folder))
    assert status == 0, said


def test_the_same_command_goes_on_and_others_say_what_differs(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*options: str) -> tuple[int, str]:
        return run(capsys, "--recipe", str(recipe), *options)

    assert "Going on" not in asked()[1]
    status, said = asked()
    assert status == 0, said
    assert f"Going on with {Path('runs/tiny')} after step 2 of 2." in said
    changed = "now it is --steps 3 instead of 2; --learning-rate 0.1 instead of 0.0008; --resume never starts again, "
    changed += f"--resume {Path('runs/tiny')} resumes with what is given now, another -o keeps both"
    status, said = asked("--steps", "3", "--learning-rate", "0.1")
    assert (status, said.splitlines()[-1]) == (1, f"fastnst: {Path('runs/tiny/checkpoint.safetensors')}: {changed}")
    status, said = run(capsys, "--steps", "3", "--learning-rate", "0.1", "--resume", "runs/tiny")
    assert status == 0, said
    assert "after step 2 of 3, now with --steps 3 instead of 2; --learning-rate 0.1 instead of 0.0008." in said
    status, said = run(capsys, "--width", "4", "--resume", "runs/tiny")
    assert status == 1
    assert "another -o" in said
    status, said = asked("--resume", "never")
    assert status == 0, said
    assert "Going on" not in said
    assert f"{Path('runs/tiny/checkpoint-before-1.safetensors')}: kept of the training before" in said
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "Going on with" in asked("--resume", "never")[1]


def stopped_before_it_trains(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Let no training begin; gives what it would have been called with."""
    given: dict[str, object] = {}

    def stand_in(settings: object, *_: object, began: float, **__: object) -> None:
        given.update(settings=settings, began=began)
        raise SystemExit(0)

    monkeypatch.setattr("fastnst.training.train.train", stand_in)
    return given


@pytest.mark.parametrize(("found", "warned"), [(199, True), (200, False)])
def test_few_photographs_are_warned_of(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: int, warned: bool
) -> None:
    stopped_before_it_trains(monkeypatch)
    monkeypatch.setattr("fastnst.training.photographs.list_pictures", lambda _folder: ["photo.jpg"] * found)
    status, said = run(capsys, "--recipe", str(recipe))
    assert status == 0, said
    assert ("199 photographs are few; 200 or more" in said) == warned


def test_several_styles_by_flags(
    recipe: Path, style_picture: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given, styles = stopped_before_it_trains(monkeypatch), (photos / "photo0.png", style_picture)
    flags = ("--style", str(styles[0]), "--style", str(styles[1]), "--strength-input", "--steps", "1", "-o", "flags")
    status, said = run(capsys, "--recipe", str(recipe), *flags)
    assert status == 0, said
    settings = given["settings"]
    assert isinstance(settings, TrainSettings)
    assert (settings.style, settings.strength_input, settings.steps, settings.width) == (styles, True, 1, 2)


def test_an_unknown_key_of_a_recipe_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_text("stepz = 3", encoding="utf-8")
    status, said = run(capsys, "--style", "x.jpg", "--recipe", str(tmp_path / "r.toml"))
    assert status == 1
    assert said.endswith("r.toml: no setting is called 'stepz'; did you mean 'steps'?")


@pytest.mark.slow
def test_without_weights_the_compact_network_judges_also_after_vgg_was_fetched(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FASTNST_LOSS_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    kept = [line for line in recipe.read_text().splitlines() if "loss-weights" not in line and "layers" not in line]
    recipe.write_text("\n".join(kept))
    status, said = run(capsys, "--recipe", str(recipe))
    assert status == 0, said
    assert "Judged by the compact loss network, which comes with fastnst." in said
    card = (tmp_path / "runs" / "tiny" / "tiny.md").read_text(encoding="utf-8")
    assert "| loss_network | compact |" in card
    fetched = tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"no weights")
    status, said = run(capsys, "--resume", "runs/tiny")
    assert status == 0, said


STYLE_RECIPES = sorted(path for path in (REPOSITORY / "train").glob("*.toml") if path.stem != "compact")


@pytest.mark.parametrize("recipe", STYLE_RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_understood(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Everything but the style picture is right: so that is what is named.
    status, said = run(capsys, "--recipe", str(recipe), "--style", "missing.jpg")
    assert (status, said) == (1, "fastnst: missing.jpg: no such file")


def test_a_style_weight_may_be_left_to_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--style", "missing.jpg", "--style-weight", "auto")[1] == "fastnst: missing.jpg: no such file"
    (tmp_path / "r.toml").write_text('style-weight = "auto"\nbudget = "20m"', encoding="utf-8")
    given = ["--style", "missing.jpg", "--recipe", str(tmp_path / "r.toml")]
    assert run(capsys, *given) == (1, "fastnst: missing.jpg: no such file")
    status, said = run(capsys, *given, "--style-weight", "some")
    assert status == 2
    assert "style-weight" in said


def test_pictures_that_are_not_there_are_one_line(capsys: pytest.CaptureFixture[str], style_picture: Path) -> None:
    status, said = run(capsys, "--style", "missing.jpg")
    assert (status, said) == (1, "fastnst: missing.jpg: no such file")
    status, said = run(capsys, "--style", str(style_picture), "--content", "nowhere")
    assert status == 1
    assert "nowhere: no such folder; --content expects a folder of pictures, val2017 or train2017" in said


def test_a_loss_network_that_cannot_be_had_names_both_ways_out(
    style_picture: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.delenv("FASTNST_LOSS_WEIGHTS", raising=False)
    monkeypatch.setattr("fastnst.io.addresses.urlopen", refuse)
    monkeypatch.setattr("fastnst.io.addresses.PAUSES_S", ())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    options = ["--style", str(style_picture), "--content", str(photos), "-o", str(tmp_path / "run")]
    status, said = run(capsys, *options, "--loss-network", "vgg19")
    assert status == 1
    assert "connect and try again, or give a file by --loss-weights FILE or FASTNST_LOSS_WEIGHTS=FILE" in said
    assert not (tmp_path / "run").exists()


def test_fetching_photographs_is_not_charged_to_a_budget(
    recipe: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]

    def fetch(content: str, console: object) -> Path:
        now[0] += 3600
        return photos

    given = stopped_before_it_trains(monkeypatch)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("fastnst.cli.train.content_folder", fetch)
    status, _ = run(capsys, "--recipe", str(recipe), "--budget", "90s")
    assert status == 0
    assert given["began"] == 1000 + 3600


@pytest.mark.parametrize("name", ["../victim/notes", "/elsewhere/notes", "..", ".hidden", "a/b", "a\\\\b"])
@pytest.mark.parametrize("given", ["option", "recipe"])
def test_a_name_stays_in_the_folder(
    tmp_path: Path, given: str, name: str, style_picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'name = "{name}"' if given == "recipe" else "", encoding="utf-8")
    options = ["--name", name.replace("\\\\", "\\")] if given == "option" else []
    output = tmp_path / "runs"
    status, said = run(
        capsys,
        "--recipe",
        str(recipe),
        "--style",
        str(style_picture),
        "--content",
        "missing",
        "-o",
        str(output),
        *options,
    )
    assert status != 0
    assert "expected letters, digits, - and _" in said
    assert list(tmp_path.iterdir()) == [recipe]


@pytest.mark.parametrize("setting", ["output", "o", "resume", "recipe"])
def test_a_recipe_does_not_say_where_files_are_written(
    tmp_path: Path, setting: str, style_picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'{setting} = "{tmp_path}/victim"', encoding="utf-8")
    status, said = run(capsys, "--recipe", str(recipe), "--style", str(style_picture))
    assert status == 1
    assert f"no setting is called {setting!r}" in said


@pytest.mark.skipif(os.name != "posix", reason="needs a named pipe")
def test_a_recipe_that_never_ends_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "deep").write_text(f"a = {'[' * 5000}{']' * 5000}")
    (tmp_path / "long").write_text(f"steps = {'9' * 5000}")
    (tmp_path / "latin").write_bytes(b'name = "\xe9"')
    (tmp_path / "large").write_text("#" * (LARGEST_RECIPE + 1))
    (tmp_path / "plain").write_text("steps 3 4")
    for name, reason in {
        str(tmp_path / "pipe"): "is no ordinary file",
        "/dev/zero": "is no ordinary file",
        str(tmp_path): "a director",
        str(tmp_path / "deep"): "not a TOML file",
        str(tmp_path / "long"): "not a TOML file",
        str(tmp_path / "latin"): "not a TOML file",
        str(tmp_path / "large"): "has 1,048,577 bytes, expected at most 1,048,576",
        str(tmp_path / "plain"): "not a TOML file",
    }.items():
        status, said = run(capsys, "--recipe", name)
        assert (status, said.count("\n")) == (1, 0)
        assert said.startswith(f"fastnst: {name}: ")
        assert reason in said


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_fetched(
    tmp_path: Path, style_picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(*_: object) -> Path:
        raise AssertionError("nothing may be fetched")

    monkeypatch.setattr("fastnst.cli.train.content_folder", fetch)
    (tmp_path / "file").write_text("mine")
    for output, reason in (
        (tmp_path / "file", "is a file; expected the name of a folder"),
        (tmp_path / "file" / "run", "file is a file; expected the name of a folder"),
        ("/proc/run", "cannot be written to"),
    ):
        status, said = run(capsys, "--style", str(style_picture), "-o", str(output))
        assert (status, said.count("\n")) == (1, 0)
        assert said.startswith(f"fastnst: {output}: ")
        assert reason in said
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("given", [["-o", ""], ["--output="], ["--output", ""]])
def test_an_empty_output_is_not_the_working_folder(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, said = run(capsys, "--style", "x.jpg", *given)
    assert (status, said) == (2, f"fastnst: {given[0].rstrip('=')} is empty; expected the name of a file or folder")


def test_photographs_that_are_left_out_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.CR2").touch()
    assert content_folder(str(tmp_path), Console(stderr=True)) == tmp_path
    said = " ".join(capfd.readouterr().err.split())
    assert said.startswith("1 raw file is left out, ")
    assert said.endswith("export them as TIFF, PNG or JPEG")
