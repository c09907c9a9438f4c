"""Content pictures: which one sample n is, what is skipped, and that neither workers nor resuming change it."""

import contextlib
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError

from fastnst.errors import InputError, SettingError
from fastnst.io.decoding import reason
from fastnst.training.data import (
    Batch,
    ContentImages,
    Portion,
    check_shares,
    content_batches,
    epoch_order,
    held_out,
    shared,
)
from fastnst.training.photographs import Corruption, Framing, draw_framing, list_pictures, read_square
from fastnst.training.processes import Processes


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "b" / "c").mkdir(parents=True)
    for i in range(7):
        noise(40 + 5 * i, 60, seed=i).save(folder / ("b" if i % 2 else "b/c") / f"photo{i}.jpg")
    return folder


def portions(count: int, first_step: int, steps: int, crop: int = 32) -> list[Portion]:
    return [Portion(step * count, count, crop) for step in range(first_step, first_step + steps)]


def collect(batches: list[Batch]) -> torch.Tensor:
    return torch.stack([batch.images for batch in batches])


# Listing


def test_list_pictures_is_nested_sorted_and_passes_over_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("z.jpg", "a/k.PNG", "a/b.webp", ".hidden.jpg", ".git/x.jpg", "notes.txt", "film.mpg", "a.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_pictures(tmp_path) == ["a.tiff", "a/b.webp", "a/k.PNG", "z.jpg"]


def test_list_pictures_follows_a_link_but_not_in_a_circle(tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    try:
        (folder / "coco").symlink_to(photos, target_is_directory=True)
        (photos / "back").symlink_to(photos, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    assert len(list_pictures(folder)) == 7


@pytest.mark.parametrize(("kind", "words"), [("missing", "not there"), ("file", "a file"), ("empty", "no pictures")])
def test_list_pictures_says_what_is_wrong(tmp_path: Path, kind: str, words: str) -> None:
    folder = tmp_path / "given"
    if kind == "file":
        folder.touch()
    elif kind == "empty":
        folder.mkdir()
    with pytest.raises(InputError, match=f"given: .*{words}") as caught:
        list_pictures(folder)
    assert "\n" not in str(caught.value)


def test_what_is_left_out_is_named_where_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.CR2").touch()
    with pytest.raises(
        InputError, match=r"no pictures in it .*; 1 raw file is left out, .*a\.CR2; export them as TIFF"
    ):
        list_pictures(tmp_path)


# Reading


def test_read_square_by_hand(tmp_path: Path) -> None:
    # 32 x 64 pixels, left half dark, right half bright: a square at the left edge, the right edge, the middle.
    levels = np.zeros((32, 64, 3), dtype=np.uint8)
    levels[:, 32:] = (200, 100, 50)
    Image.fromarray(levels).save(tmp_path / "halves.png")
    left = read_square(tmp_path / "halves.png", 32, Framing(across=0))
    right = read_square(tmp_path / "halves.png", 32, Framing(across=1))
    middle = read_square(tmp_path / "halves.png", 32, Framing())
    mirrored = read_square(tmp_path / "halves.png", 32, Framing(mirror=True))
    np.testing.assert_array_equal(left, levels[:, :32])
    np.testing.assert_array_equal(right, levels[:, 32:])
    np.testing.assert_array_equal(middle, levels[:, 16:48])
    np.testing.assert_array_equal(mirrored, levels[:, 16:48][:, ::-1])
    # Zoom 2: the shorter side is two crops long, so a corner is one quarter of a square picture.
    levels = np.zeros((64, 64, 3), dtype=np.uint8)
    levels[32:, 32:] = 255
    Image.fromarray(levels).save(tmp_path / "quarter.png")
    corner = read_square(tmp_path / "quarter.png", 32, Framing(zoom=2, across=1, down=1))
    np.testing.assert_array_equal(corner, np.full((32, 32, 3), 255))


def test_small_pictures_are_not_enlarged_beyond_a_quarter(tmp_path: Path) -> None:
    # 40 pixels for a crop of 32: whatever the zoom, the square is 40 / 1.5625 = 25.6 pixels of the picture.
    noise(40, 40).save(tmp_path / "small.png")
    middle = [read_square(tmp_path / "small.png", 32, Framing(zoom=zoom)) for zoom in (1.5625, 2, 4)]
    np.testing.assert_array_equal(middle[0], middle[1])
    np.testing.assert_array_equal(middle[0], middle[2])


def test_a_large_jpeg_decoded_small_looks_like_one_decoded_whole(tmp_path: Path) -> None:
    noise(50, 75).resize((600, 400), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=95)
    Image.open(tmp_path / "large.jpg").save(tmp_path / "large.png")
    framing = Framing(zoom=1.2, across=0.3, down=0.8, mirror=True)
    quick = read_square(tmp_path / "large.jpg", 40, framing).astype(int)
    whole = read_square(tmp_path / "large.png", 40, framing).astype(int)
    assert np.abs(quick - whole).mean() < 2


def test_a_large_jpeg_is_not_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(400, 600).save(tmp_path / "large.jpg")
    sizes = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, *a, **k: sizes.append(self.size) or resize(self, *a, **k))
    read_square(tmp_path / "large.jpg", 80, Framing(zoom=1.25))
    assert sizes == [(150, 100)]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    picture = Image.new("RGB", (64, 48))
    picture.paste((250, 250, 250), (0, 0, 64, 24))  # bright at the top as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: bright at the right
    picture.save(tmp_path / f"turned.{suffix}", exif=exif)
    square = read_square(tmp_path / f"turned.{suffix}", 48, Framing())
    assert square[:, :20].max() < 30
    assert square[:, 28:].min() > 220


def test_a_damaged_exif_block_is_no_reason_to_skip(tmp_path: Path) -> None:
    # Orientation 6, a short; the camera's maker, a text, stored as a float: Pillow trips over it when it turns.
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHIf", 0x010F, 11, 1, 1.5)
    block = b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    noise(48, 40).save(tmp_path / "damaged.jpg", exif=block)
    noise(48, 40).save(tmp_path / "plain.jpg")
    plain = read_square(tmp_path / "plain.jpg", 40, Framing())
    np.testing.assert_array_equal(read_square(tmp_path / "damaged.jpg", 40, Framing()), np.rot90(plain, -1))


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((48, 40), 30000, dtype=np.uint16))
    else:
        picture = noise(48, 40).convert(mode)
    picture.save(tmp_path / ("picture.jpg" if mode in {"L", "CMYK"} else "picture.png"))
    sample = ContentImages(tmp_path, 32)[0]
    assert sample.skipped == []
    assert sample.image.shape == (3, 32, 32)
    assert sample.image.dtype == torch.uint8


def test_a_small_picture_is_enlarged_and_a_tiny_one_skipped(tmp_path: Path) -> None:
    noise(32, 33).save(tmp_path / "small.png")
    noise(31, 99).save(tmp_path / "tiny.png")
    samples = [ContentImages(tmp_path, 64)[n] for n in range(2)]
    assert all(sample.image.shape == (3, 64, 64) for sample in samples)
    skipped = [entry for sample in samples for entry in sample.skipped]
    assert [entry.name for entry in skipped] == ["tiny.png"]
    assert skipped[0].reason.startswith("99 x 31 pixels")


def test_zoom_position_and_mirror_never_leave_the_picture(tmp_path: Path) -> None:
    noise(33, 1000).save(tmp_path / "long.png")
    for seed in range(40):
        assert read_square(tmp_path / "long.png", 37, draw_framing(seed, 7)).shape == (37, 37, 3)


# The sequence


def test_an_epoch_shows_every_file_once_and_the_next_in_another_order(photos: Path) -> None:
    first, second = (list(epoch_order(50, 3, epoch)) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_sample_n_is_the_file_that_the_epochs_order_names(tmp_path: Path) -> None:
    for i in range(5):
        Image.new("RGB", (40, 40), (50 * i, 0, 0)).save(tmp_path / f"{i}.png")
    dataset = ContentImages(tmp_path, 16, seed=4)
    shown = [int(dataset[n].image[0, 8, 8]) // 50 for n in range(10)]
    assert shown == [*epoch_order(5, 4, 0), *epoch_order(5, 4, 1)]


def test_framings_differ_stay_in_range_and_leave_two_crops_of_three_as_they_are() -> None:
    framings = [draw_framing(seed, n) for seed in range(2) for n in range(200)]
    assert len(set(framings)) == 400
    assert all(1 <= framing.zoom <= 4 and 0 <= framing.across <= 1 for framing in framings)
    assert 150 < sum(framing.mirror for framing in framings) < 250
    assert np.std([framing.zoom for framing in framings]) > 0.05
    kinds = [draw_framing(0, n).corruption.kind for n in range(1000)]
    assert 620 < kinds.count("") < 720
    assert min(kinds.count(kind) for kind in ("jpeg", "noise", "blur")) > 50


def test_another_crop_shows_the_same_part_of_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        noise(30, 40).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / name)
    dataset = ContentImages(tmp_path, 32, seed=1)
    large = dataset.with_crop(64)
    number = next(n for n in range(100) if not draw_framing(1, n).corruption.kind)
    assert (dataset.crop, large[number].image.shape) == (32, (3, 64, 64))
    halved = torch.nn.functional.avg_pool2d(large[number].image.float(), 2)
    assert (halved - dataset[number].image).abs().mean() < 4


@pytest.mark.parametrize("kind", ["jpeg", "noise", "blur"])
def test_corrupted_crops_differ_but_show_the_same(photos: Path, kind: str) -> None:
    amount = {"jpeg": 15, "noise": 12, "blur": 2}[kind]
    path = photos / ContentImages(photos, 32).names[0]
    clean = read_square(path, 64, Framing()).astype(int)
    corrupted = read_square(path, 64, Framing(corruption=Corruption(kind, amount), noise_seed=3)).astype(int)
    assert 0.2 < np.abs(corrupted - clean).mean() < 30
    again = read_square(path, 64, Framing(corruption=Corruption(kind, amount), noise_seed=3))
    np.testing.assert_array_equal(again, corrupted)


def test_a_broken_file_gives_its_place_to_the_next_one(photos: Path) -> None:
    whole = ContentImages(photos, 32, seed=2)
    order = [whole.names[i] for i in epoch_order(7, 2, 0)]
    last = photos / order[6]
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])  # truncated
    (photos / order[2]).write_text("not a picture")
    dataset = ContentImages(photos, 32, seed=2)
    assert dataset[2].skipped == [(order[2], reason(UnidentifiedImageError()))]
    assert [entry.name for entry in dataset[6].skipped] == [order[6]]  # the epoch's last: goes on at its first
    expected = read_square(photos / order[3], 32, draw_framing(2, 2))
    np.testing.assert_array_equal(dataset[2].image.permute(1, 2, 0).numpy(), expected)
    assert "truncated" in dataset[6].skipped[0].reason
    assert dataset[3].skipped == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_of_broken_files_is_one_line(tmp_path: Path, workers: int) -> None:
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_text("not a picture")
    with pytest.raises(InputError, match=r"none of its 3 pictures can be used.*0\.jpg: ") as caught:
        list(content_batches(ContentImages(tmp_path, 32), portions(2, 0, 1), workers))
    assert "\n" not in str(caught.value)


def test_a_negative_seed_is_refused(photos: Path) -> None:
    with pytest.raises(SettingError, match="seed -1"):
        ContentImages(photos, 32, seed=-1)


# Batches


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_at_step_k_sees_what_an_uninterrupted_run_sees(photos: Path, workers: int) -> None:
    (photos / "broken.jpg").write_text("not a picture")
    dataset = ContentImages(photos, 32, seed=1)
    whole = list(content_batches(dataset, portions(3, 0, 8), 0))
    rest = list(content_batches(dataset, portions(3, 5, 3), workers))
    assert len(rest) == 3
    assert torch.equal(collect(rest), collect(whole[5:]))
    assert [batch.skipped for batch in rest] == [batch.skipped for batch in whole[5:]]
    assert sum(len(batch.skipped) for batch in whole) == 3  # 24 samples of 8 files: three epochs


def test_processes_share_the_sequence_of_one(photos: Path) -> None:
    dataset = ContentImages(photos, 32)
    alone = collect(list(content_batches(dataset, portions(4, 2, 3), 0)))
    shares = [
        collect(list(content_batches(dataset, portions(4, 2, 3), 0, rank=rank, world_size=2))) for rank in range(2)
    ]
    assert torch.equal(torch.cat(shares, dim=1), alone)


def test_unequal_shares_of_a_batch_by_hand_and_none_is_refused() -> None:
    assert [shared(10, 5, rank, 3) for rank in range(3)] == [(10, 2), (12, 2), (14, 1)]
    # The mean of 2, 4 | 6, 8 | 10 is 6; that of the means 3, 7, 10 is not.
    weights = [Processes(rank, 3).weight(share, 5) for rank, share in enumerate((2, 2, 1))]
    assert sum(weight * mean for weight, mean in zip(weights, (3, 7, 10), strict=True)) / 3 == pytest.approx(6)
    assert Processes(0, 2).weight(2, 4) == 1
    check_shares(3, 3)
    with pytest.raises(SettingError, match="batch size 2: 3 processes train, and each needs a picture; give 3"):
        check_shares(2, 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_batches_leaves_the_random_state_alone(photos: Path, workers: int) -> None:
    before = torch.get_rng_state()
    next(content_batches(ContentImages(photos, 32), portions(2, 0, 1), workers))
    assert torch.equal(torch.get_rng_state(), before)


RUN = """
import sys, time
from pathlib import Path
from fastnst.training.data import Portion, content_batches
from fastnst.training.data import ContentImages
if __name__ == "__main__":
    try:
        portions = (Portion(2 * step, 2, 32) for step in range(100_000))
        for _ in content_batches(ContentImages(Path(sys.argv[1]), 32), portions, 1):
            print("running", flush=True)
            time.sleep(0.05)
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_workers_end_quietly_with_the_main_process(photos: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "run.py").write_text(RUN)
    command = [sys.executable, tmp_path / "run.py", photos]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "running\n"
        # Ctrl-C reaches the whole group, kill only the process it names.
        (os.killpg if how == "SIGINT" else os.kill)(run.pid, signal.Signals[how])
        try:
            _, errors = run.communicate(timeout=180)  # returns once no worker holds the pipes any more
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
    assert "Traceback" not in errors


@pytest.mark.parametrize("workers", [0, 1])
def test_a_portion_says_how_many_pictures_and_how_large(photos: Path, workers: int) -> None:
    dataset = ContentImages(photos, 32, seed=1)
    batches = list(content_batches(dataset, [Portion(3, 2, 16), Portion(5, 1, 32)], workers))
    assert [batch.samples for batch in batches] == [range(3, 5), range(5, 6)]
    assert torch.equal(batches[0].images, torch.stack([dataset.with_crop(16)[n].image for n in (3, 4)]))
    assert torch.equal(batches[1].images[0], dataset[5].image)


# Held-out pictures


def test_held_out_pictures_are_spread_over_the_folder_and_the_same_each_time(photos: Path) -> None:
    (photos / list_pictures(photos)[3]).write_text("not a picture")
    names = list_pictures(photos)
    kept = held_out(photos, 2, 24)
    # Of 7 files, numbers 1 (7 / 4) and 5 (21 / 4).
    assert kept.names == [names[1], names[5]]
    assert (kept.images.shape, kept.images.dtype) == ((2, 3, 24, 24), torch.uint8)
    assert torch.equal(held_out(photos, 2, 24).images, kept.images)
    everything = held_out(photos, 99, 24)
    assert sorted(everything.names) == [name for name in names if name != names[3]]
    assert [entry.name for entry in everything.skipped] == [names[3]]


def test_a_held_out_place_at_the_end_that_is_broken_is_filled_from_the_beginning(tmp_path: Path) -> None:
    for i in range(4):
        noise(32, 32).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_text("not a picture")
    assert held_out(tmp_path, 2, 16).names == ["1.png", "0.png"]  # instead of 1 and 3


def test_held_out_pictures_are_excluded_where_there_are_enough(tmp_path: Path) -> None:
    for i in range(20):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{i:02}.png")
    assert len(ContentImages(tmp_path, 32, exclude=["03.png"])) == 19
    assert "03.png" not in ContentImages(tmp_path, 32, exclude=["03.png"]).names
    assert len(ContentImages(tmp_path, 32, exclude=["03.png", "04.png"])) == 20


def test_held_out_of_nothing_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not a picture")
    with pytest.raises(InputError, match="none of its 1 pictures"):
        held_out(tmp_path, 3, 32)
