"""`fastnst stylize` as a user sees it: pictures, one line, exit status."""

import errno
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fastnst.backends import choosing
from fastnst.cli import main
from fastnst.errors import DownloadError
from fastnst.inference import effects
from fastnst.io.images import read_frame
from fastnst.machine import installed_version

INVERT = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <uint8 white = {255}> { stylized = Sub(white, frame) }"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.full((48, 64, 3), (250, 200, 100), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code is None or isinstance(caught.value.code, int)
    return caught.value.code or 0


def digest(style: str) -> str:
    return hashlib.sha256(Path(style).read_bytes()).hexdigest()[:12]


def on_cpu(*arguments: str | Path) -> int:
    """Stylize where what computes is not the matter: to try all takes a second."""
    return run("stylize", *arguments, "--provider", "cpu")


def test_one_photo(photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("stylize", photo, "--style", style, "-o", tmp_path / "out.png", "--provider", "cpu") == 0
    np.testing.assert_array_equal(read_frame(tmp_path / "out.png")[5, 5], [5, 55, 155])
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"{tmp_path / 'out.png'}: 1 picture in ")
    assert err.endswith(" s on cpu\n")
    assert err.count("\n") == 1


def test_a_mix_of_a_networks_styles(
    photo: Path, tmp_path: Path, write_duo: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    write_duo(tmp_path / "duo.onnx")
    for options, level in (
        (("--style", tmp_path / "duo.onnx"), 120),
        (("--style", tmp_path / "duo.onnx", "--mix", "munch:3,monet:1"), 80),
        (("--style", f"{tmp_path / 'duo.onnx'}@monet"), 200),
    ):
        assert run("stylize", photo, *options, "-o", tmp_path / "out.png", "--provider", "cpu", "--overwrite") == 0
        assert read_frame(tmp_path / "out.png")[5, 5].tolist() == [level] * 3
        duo = tmp_path / "duo.onnx"
        note = f"{duo}: stylizes all of its styles alike; {duo}@NAME stylizes one of them\n"
        assert capfd.readouterr().err.startswith(note) == (level == 120)
    assert run("stylize", photo, "--style", tmp_path / "duo.onnx", "--mix", "klee", "-o", tmp_path / "no.png") == 1
    assert capfd.readouterr().err == "fastnst: 'klee' is no style of this network; known: monet, munch\n"


def test_what_auto_took_and_why(
    photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "candidates", lambda: ("directml",))
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert run("stylize", photo, "--style", style, "-o", tmp_path / "out.png") == 0
    assert capfd.readouterr().err.endswith(" s on cpu\n")
    again = ("-o", tmp_path / "out.png", "--overwrite", "--verbose")
    assert run("stylize", photo, "--style", style, *again) == 0
    stroke, line = capfd.readouterr().err.splitlines()
    assert stroke == f"invert ({digest(style)}), stroke 1, stylized at 64x48"
    assert " s on cpu (directml: this ONNX Runtime was built without DirectML" in line


def test_a_provider_that_cannot_run_ends_it(
    photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert run("stylize", photo, "--style", style, "-o", tmp_path / "out.png", "--provider", "tensorrt") == 1
    assert capfd.readouterr().err.startswith("fastnst: provider tensorrt cannot run here: this ONNX Runtime was built")
    assert not (tmp_path / "out.png").exists()


def test_size_reduces_and_never_enlarges_and_overwrite_replaces(photo: Path, style: str, tmp_path: Path) -> None:
    assert on_cpu(photo, "--style", style, "-o", tmp_path / "a.png", "--size", "32") == 0
    assert on_cpu(photo, "--style", style, "-o", tmp_path / "b.png", "--size", "3200") == 0
    assert read_frame(tmp_path / "a.png").shape == (24, 32, 3)
    assert read_frame(tmp_path / "b.png").shape == (48, 64, 3)
    (tmp_path / "out.png").touch()
    assert on_cpu(photo, "--style", style, "-o", tmp_path / "out.png", "--overwrite") == 0
    assert (tmp_path / "out.png").stat().st_size > 0


def test_strength_colors_and_mask(photo: Path, style: str, tmp_path: Path) -> None:
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:, 32:] = (0, 0, 255)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    out = tmp_path / "out.png"
    paint = ("stylize", photo, "-o", out, "--provider", "cpu", "--overwrite")
    assert run(*paint, "--style", style, "--strength", "0.5") == 0
    np.testing.assert_allclose(read_frame(out)[5, 5], 127.5, atol=1)
    # Y falls from 204 to 51: all channels by 153.
    assert run(*paint, "--style", style, "--preserve-color") == 0
    np.testing.assert_array_equal(read_frame(out)[5, 5], [97, 47, 0])
    assert run(*paint, "--mask", tmp_path / "mask.png", "--region", f"blue={style}") == 0
    np.testing.assert_array_equal(read_frame(out)[5, [31, 32]], [[250, 200, 100], [5, 55, 155]])


def test_tiles_are_told(photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    onnx.save(onnx.parser.parse_model(INVERT.replace("17", "18").replace("8,", "10,")), tmp_path / "new.onnx")
    new, out = tmp_path / "new.onnx", tmp_path / "out.png"
    assert run("stylize", photo, "--style", new, "-o", out, "--provider", "cpu", "--tile", "64") == 0
    np.testing.assert_array_equal(read_frame(out)[5, 5], [5, 55, 155])
    assert capfd.readouterr().err.endswith(" s on cpu; 1 in tiles on cpu\n")


def test_folder_with_a_bad_file(photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jpg").write_text("text")
    out = tmp_path / "out"
    assert on_cpu(photo, tmp_path / "bad.jpg", tmp_path / "gone.jpg", "--style", style, "-o", out) == 1
    assert sorted(path.name for path in out.iterdir()) == [".fastnst", "failed.jsonl", "photo.png"]
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith(f"failed: {tmp_path / 'bad.jpg'}: is not a picture")
    assert lines[1] == f"failed: {tmp_path / 'gone.jpg'}: no such file"
    assert lines[2].startswith(f"{out}: 1 picture in ")
    assert lines[2].endswith(f"; 2 failed: {tmp_path / 'bad.jpg'}, {tmp_path / 'gone.jpg'}")
    assert len(lines) == 3


def test_a_batch_that_is_run_again_goes_on(
    photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.png").write_bytes(photo.read_bytes())
    (tmp_path / "list.txt").write_text(f"{photo}\n{tmp_path / 'deep' / 'b.png'}\n{tmp_path / 'gone.png'}\n")
    out = tmp_path / "out"
    for first in ("2 pictures in ", "0 pictures in "):
        assert on_cpu("--from", tmp_path / "list.txt", "--style", style, "-o", out) == 1
        assert first in capfd.readouterr().err
    assert (out / "deep" / "b.png").exists()
    (tmp_path / "gone.png").write_bytes(photo.read_bytes())
    assert run("status", out) == 1
    line, failure = capfd.readouterr().out.splitlines()
    assert line == f"{out}: 2 of 3 done, 1 failed, 0 left"
    assert failure == f"failed: gone.png: {tmp_path / 'gone.png'}: no such file"
    assert on_cpu("--from", tmp_path / "list.txt", "--style", style, "-o", out) == 0
    assert capfd.readouterr().err.endswith("; 2 done before\n")
    assert run("status", out) == 0


def test_shards_by_slurm(
    photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "0")
    painted = []
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        assert on_cpu(photo, "--style", style, "-o", tmp_path / "out") == 0
        said = capfd.readouterr().err
        assert f"shard {int(task) + 1}/2, by SLURM_ARRAY_TASK_ID; --shard 1/1 does everything" in said
        painted.append("1 picture in" in said)
    assert sorted(painted) == [False, True]


def test_full_disk_ends_the_batch(
    photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(photo.read_bytes())
    monkeypatch.setattr("os.fsync", full)
    out = tmp_path / "out"
    assert on_cpu(photo, tmp_path / "a.png", tmp_path / "b.png", "--style", style, "-o", out) == 1
    first, last = capfd.readouterr().err.splitlines()
    assert first == f"failed: {out / 'photo.png'}: cannot be written (No space left on device)"
    assert last.endswith(f"1 failed: {photo}; 2 not tried, the disk has no room")


def test_animation_says_that_its_first_picture_was_painted(
    style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    moving = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    moving[0].save(tmp_path / "a.gif", save_all=True, append_images=moving[1:])
    assert on_cpu(tmp_path / "a.gif", "--style", style, "-o", tmp_path / "out") == 0
    assert "a.gif: animated; its first picture was stylized" in capfd.readouterr().err
    assert (tmp_path / "out" / "a.png").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["gone.png", "--style", "STYLE", "-o", "out.png"], 1, "gone.png: no such file"),
        (["photo.png", "--style", "STYLE", "-o", "photo.png", "--overwrite"], 1, "is one of the photos"),
        (["photo.png", "--style", "STYLE", "-o", "there.png"], 1, "--overwrite replaces it"),
        (["photo.png", "--style", "STYLE", "-o", "out.gif"], 1, "suffix '.gif'"),
        (["photo.png", "--style", "nonsuch", "-o", "out.png"], 1, "no style 'nonsuch'"),
        (["photo.png", "--style", "photo.png", "-o", "out.png"], 1, "too small to learn strokes from"),
        (["*.xyz", "--style", "STYLE", "-o", "out"], 1, "no picture matches"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--size", "0"], 2, "size"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--provider", "gpu"], 2, "provider"),
        (["photo.png", "--style", "STYLE"], 2, "output"),
        (["photo.png", "-o", "out.png"], 1, "--style is missing"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--strength", "1.2"], 1, "strength 1.2; expected 0 to 1"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--strength", "2"], 1, "--strength is 2"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--mask", "gone.png"], 1, "gone.png: no such file"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--region", "red=photo"], 1, "without --mask"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--tile", "some"], 2, "tile"),
        (["photo.png", "--style", "STYLE", "-o", "out.png", "--tile", "64"], 1, "cannot be stylized in tiles"),
        (["--style", "STYLE", "-o", "out.png"], 1, "name a PHOTO"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str],
    status: int,
    words: str,
    photo: Path,
    style: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("there.png").touch()
    assert run("stylize", *[style if argument == "STYLE" else argument for argument in arguments]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert err.startswith("fastnst: ")
    assert err.count("\n") == 1
    assert Path("there.png").stat().st_size == 0
    assert not Path("out.png").exists()


def test_painting_needs_neither_torch_nor_opencv(photo: Path, style: str, tmp_path: Path) -> None:
    code = (
        "import sys; from fastnst.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'torch', 'cv2', 'onnx', 'torchvision'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "stylize", str(photo), "--style", style, "-o", str(tmp_path / "out.png")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert (tmp_path / "out.png").exists()


def test_several_styles_and_a_sheet(photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(Path(style).read_bytes())
    assert (
        on_cpu(photo, "--style", style, "--style", other, "-o", tmp_path / "out", "--sheet", tmp_path / "all.png") == 0
    )
    for name in ("invert", "other"):
        np.testing.assert_array_equal(read_frame(tmp_path / "out" / name / "photo.png")[5, 5], [5, 55, 155])
    assert read_frame(tmp_path / "all.png").shape[1] > 3 * 384
    assert "all.png: contact sheet, 1 x 2 pictures\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("output", "more", "words"),
    [
        ("out.png", (), "is one file, but 2 styles go there"),
        ("out", ("--sheet", "photo.png"), "already exists; --overwrite"),
        ("out", ("--sheet", "all.txt"), "expected one of .png"),
    ],
)
def test_several_styles_that_cannot_be_written(
    photo: Path,
    style: str,
    tmp_path: Path,
    output: str,
    more: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert on_cpu(photo, "--style", style, "--style", "starry", "-o", output, *more) == 1
    assert words in capfd.readouterr().err


def test_what_was_chosen_is_said_and_kept(
    photo: Path, style: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.jpg"
    options = ("--stroke", "2", "--strength", "0.7", "--preserve-color")
    assert on_cpu(photo, "--style", style, "-o", output, *options, "--verbose") == 0
    said = f"invert ({digest(style)}), stroke 2, stylized at 32x24, strength 0.7, own colors"
    assert said in capfd.readouterr().err.splitlines()
    with Image.open(output) as written:
        assert written.getexif()[0x000B] == f"fastnst {installed_version()}: {said}"


def test_a_portrait_says_what_it_fetches_before_all_else(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise DownloadError("no network")

    monkeypatch.delenv("FASTNST_YUNET", raising=False)
    monkeypatch.setattr(effects, "user_cache_path", lambda *_args, **_kwargs: tmp_path / "cache")
    monkeypatch.setattr(effects, "fetch", offline)
    assert on_cpu(photo, "--look", "portrait", "-o", tmp_path / "out.png") == 1
    first, last = capfd.readouterr().err.splitlines()
    assert first.startswith("--look portrait: fetching YuNet, which finds faces (230 kB, once). Offline: --faces MASK")
    assert "cannot be fetched (no network); --faces MASK says where faces are" in last
