"""Small parts of the film code, worked by hand."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from fastnst.batch.jobs import result_of
from fastnst.errors import InputError, OutputError, SettingError
from fastnst.video.assembly import Stamp, decode_stamps, stamp_frames, steady_grid
from fastnst.video.batch import plan_films
from fastnst.video.codecs import encoder_options, find_encoder
from fastnst.video.color import ToPalette
from fastnst.video.containers import container_language
from fastnst.video.film import Colors, Film, read_orientation, swaps_sides, turn_back, turn_upright
from fastnst.video.job import JobFolder
from fastnst.video.stylize import by_fields
from fastnst.video.tracks import Cut
from fastnst.video.writer import Segment, SegmentedEncoder

ONE = 1 << 16


def test_decode_stamps_by_hand() -> None:
    assert decode_stamps([0, 10, 25, 30], 30) == [0, 10, 25, 30]
    # Decoded I P B P B, shown I B P B P: the P at 20 must be there one place before the B at 10 is shown.
    assert decode_stamps([0, 20, 10, 40, 30], 40) == [-10, 0, 10, 20, 30]
    # I P B B2 B2, as x264 writes it: B2 at 10 is third in the file after 40 and 20, and first to be shown after 0.
    assert decode_stamps([0, 40, 20, 10, 30], 40) == [-20, -10, 0, 10, 20]


def test_what_a_cut_holds() -> None:
    cut = Cut(Fraction(1), Fraction(2))
    assert [at in cut for at in (Fraction(99, 100), Fraction(1), Fraction(199, 100), Fraction(2))] == [0, 1, 1, 0]
    assert Fraction(-1) in Cut()
    assert [cut.is_whole, Cut(start_s=Fraction(1)).is_whole, Cut(end_s=Fraction(1)).is_whole] == [False] * 3
    assert Cut(shift_s=Fraction(3)).is_whole


@pytest.mark.parametrize("seed", range(5))
def test_decode_stamps_rise_and_never_come_late(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ordered = np.cumsum(rng.integers(1, 50, 60))
    shown = [int(pts) for group in ordered.reshape(-1, 4) for pts in rng.permutation(group)]
    stamps = decode_stamps(shown, int(ordered[-1] - ordered[0]))
    assert all(later > earlier for earlier, later in pairwise(stamps))
    assert all(decoded <= pts for decoded, pts in zip(stamps, shown, strict=True))


def test_steady_grid_by_hand() -> None:
    # 30000/1001 frames a second in milliseconds: 33.37 a frame.
    assert steady_grid([0, 33, 67, 100], Fraction(1, 1000), Fraction(30000, 1001)) == [0, 1, 2, 3]
    assert steady_grid([0, 67, 33, 100], Fraction(1, 1000), Fraction(30000, 1001)) == [0, 2, 1, 3]
    assert steady_grid([0, 33, 80, 100], Fraction(1, 1000), Fraction(30000, 1001)) is None  # 67 would be right
    assert steady_grid([0, 33, 100, 133], Fraction(1, 1000), Fraction(30000, 1001)) is None  # one is missing
    assert steady_grid([1001, 2002, 3003], Fraction(1, 30000), Fraction(30000, 1001)) == [1, 2, 3]


def test_stamps_of_two_segments() -> None:
    segments = [Segment(Path(), b"", (0, 20, 10), (10, 10, 10)), Segment(Path(), b"", (30, 40), (10, 15))]
    stamps, time_base = stamp_frames(segments, Fraction(1, 100), Fraction(10), start=0, whole=None, exact=False)
    assert time_base == Fraction(1, 100)
    assert stamps == [Stamp(0, -10, 10), Stamp(20, 0, 10), Stamp(10, 10, 10), Stamp(30, 20, 10), Stamp(40, 30, 15)]


def test_the_frame_shown_last_stays_to_the_films_end() -> None:
    # Decoded last is the one shown at 30; shown last is that at 40, and the film ends at 65.
    segments = [Segment(Path(), b"", (0, 20, 10), (10, 10, 10)), Segment(Path(), b"", (40, 30), (7, 10))]
    film = Film(
        path=Path(),
        size=(2, 2),
        pixel_format="rgb24",
        time_base=Fraction(1, 100),
        rate=Fraction(10),
        colors=Colors(0, True, 1, 13),
        end=65,
    )
    stamps, _ = stamp_frames(segments, Fraction(1, 100), Fraction(10), start=0, whole=film, exact=False)
    assert [stamp.shown for stamp in stamps] == [0, 20, 10, 40, 30]
    assert stamps[-1].duration == 25
    part, _ = stamp_frames(segments, Fraction(1, 100), Fraction(10), start=0, whole=None, exact=False)
    assert part[-1].duration == 7  # what the frame itself says, where the film's end is another's


def test_the_frame_shown_last_is_not_the_one_decoded_last(tmp_path: Path) -> None:
    encoding = SimpleNamespace(size=(2, 2), pixel_format="yuv420p", colors=Colors(1, False, 1, 1), fields=None)
    with JobFolder(tmp_path / "out.mp4", {}) as job:
        written = SegmentedEncoder(job, encoding)  # type: ignore[arg-type]
        assert written.last_pts is None
        written.segments = [Segment(Path(), b"", (0, 20, 10), (10,) * 3), Segment(Path(), b"", (30, 50, 40), (10,) * 3)]
        assert written.last_pts == 50


MATRICES = {
    # Columns go right, rows down; (a b u / c d v / x y w) sends (column, row) to (a column + c row, b column + d row).
    "as stored": None,
    "half a turn": (-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30),
    "quarter clockwise": (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30),
    "quarter counter-clockwise": (0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30),
    "mirrored left to right": (-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30),
    "mirrored on the diagonal": (0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30),
    "slanted": (ONE // 2, ONE // 2, 0, -ONE // 2, ONE // 2, 0, 0, 0, 1 << 30),
}
PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
TURNED = {
    "as stored": PICTURE,
    "half a turn": np.rot90(PICTURE, 2),
    "quarter clockwise": np.rot90(PICTURE, -1),
    "quarter counter-clockwise": np.rot90(PICTURE),
    "mirrored left to right": PICTURE[:, ::-1],
    "mirrored on the diagonal": PICTURE.swapaxes(0, 1),
    "slanted": PICTURE,
}


@pytest.mark.parametrize("name", MATRICES)
def test_turning(name: str) -> None:
    upright = turn_upright(PICTURE, MATRICES[name])
    np.testing.assert_array_equal(upright, TURNED[name])
    np.testing.assert_array_equal(turn_back(upright, MATRICES[name]), PICTURE)
    assert upright.flags.c_contiguous
    assert swaps_sides(MATRICES[name]) == (upright.shape[:2] == (3, 2))


def test_frames_without_a_matrix_are_as_stored() -> None:
    assert read_orientation(av.VideoFrame(16, 16, "yuv420p")) is None


def test_palette_keeps_few_colours() -> None:
    to_palette = ToPalette((20, 30))
    for red in (10, 200):
        frame = np.full((20, 30, 3), (red, 60, 90), np.uint8)
        frame[:10] = (5, 250, 130)
        opacity = np.full((20, 30), 255, np.uint8)
        opacity[:, :4] = 0
        seen = to_palette(frame, opacity).reformat(format="rgba").to_ndarray()
        np.testing.assert_allclose(seen[5, 10], (5, 250, 130, 255), atol=1)
        np.testing.assert_allclose(seen[15, 10], (red, 60, 90, 255), atol=1)
        assert seen[5, 2, 3] == 0


def test_options_by_hand() -> None:
    usual = encoder_options("libx264", None, None)
    assert (usual["crf"], usual["preset"], usual["trellis"]) == ("16", "veryfast", "1")
    assert encoder_options("libx264", 25, "veryfast") | {"chromaoffset": ""} == {
        "crf": "25",
        "preset": "veryfast",
        "chromaoffset": "",
    }
    assert encoder_options("libvpx-vp9", 30, "6")["cpu-used"] == "6"
    assert encoder_options("hevc_nvenc", 21, "p5") == {"preset": "p5", "rc": "vbr", "cq": "21", "b": "0"}
    assert encoder_options("h264_qsv", None, None) == {}
    assert encoder_options("prores_ks", None, "hq") == {"profile": "hq"}
    with pytest.raises(SettingError, match=r"takes 0 .* to 51"):
        encoder_options("libx264", 52, None)
    assert find_encoder("hevc") == "libx265"
    assert find_encoder("mpeg4") == "mpeg4"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.mkv", "notes.txt", "deep/c.avi", ".hidden.mp4", "frames/2.png", "frames/10.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "in"


def named(films: Sequence[str | Path], output: Path) -> list[tuple[Path, Path]]:
    """Films and what is written of them."""
    plan = plan_films(films, output)
    return [(Path(job.source), Path(result_of(plan.output, job))) for job in plan.jobs]


def test_names_of_films(folder: Path, tmp_path: Path) -> None:
    assert named([folder / "b.mp4"], tmp_path / "out.mkv") == [(folder / "b.mp4", tmp_path / "out.mkv")]
    assert named([folder / "b.mp4"], tmp_path / "out") == [(folder / "b.mp4", tmp_path / "out" / "b.mp4")]
    pattern = tmp_path / "out" / "%04d.png"
    assert named([folder / "b.mp4"], pattern) == [(folder / "b.mp4", pattern)]
    jobs = named([folder], tmp_path / "out")
    assert {str(film.relative_to(folder)): str(output.relative_to(tmp_path / "out")) for film, output in jobs} == {
        "a.mkv": "a.mkv",
        "b.mp4": "b.mp4",
        "deep/c.avi": "deep/c.mkv",
    }
    inside = named([folder], folder / "deep")  # earlier results are not films to paint
    assert [film.name for film, _ in inside] == ["a.mkv", "b.mp4"]
    jobs = named([str(folder / "*.mp4"), folder / "frames"], tmp_path / "out")
    assert [output.name for _, output in jobs] == ["b.mp4", "frames.mp4"]
    assert named([folder / "frames" / "%d.png"], tmp_path / "out")[0][1].name == "frames.mp4"


def test_names_that_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("")
    for films, output, error, words in (
        ([tmp_path / "empty"], "out", InputError, "no films in this folder"),
        ([str(tmp_path / "*.mov")], "out", InputError, "no film matches"),
        ([], "out", InputError, "no films were given"),
        ([""], "out", InputError, "one of the names is empty"),
        ([folder], "out.mp4", OutputError, "is one film, but 3 are to go there; name a folder"),
        ([folder], "x.txt", OutputError, "is a file; expected a folder"),
        ([folder / "deep" / "c.avi", tmp_path / "c.ts"], "out", OutputError, "would be written there"),
        ([folder / "b.mp4"], "in", OutputError, "is one of the films"),
        ([folder / "b.mp4"], "out.avi", OutputError, r"out\.avi: suffix '\.avi'; expected one of \.mp4"),
        ([folder / "frames"], "out.png", OutputError, "suffix '.png'; expected one of"),
        ([folder / "b.mp4"], "%0999999999d.png", OutputError, "suffix '.png'; expected one of"),
    ):
        with pytest.raises(error, match=words):
            plan_films(films, tmp_path / output)


def test_kept_fields_are_painted_one_by_one_unless_they_are_columns() -> None:
    def average(frame: np.ndarray) -> np.ndarray:
        return np.full_like(frame, round(frame.mean()))

    frame = np.zeros((4, 6, 3), np.uint8)
    frame[1::2] = 200
    sideways = next(matrix for matrix in MATRICES.values() if swaps_sides(matrix))
    for fields, orientation, painted in (
        ("top", None, frame),
        ("", None, frame * 0 + 100),
        ("top", sideways, frame * 0 + 100),
    ):
        plan = SimpleNamespace(encoding=SimpleNamespace(fields=fields), film=SimpleNamespace(orientation=orientation))
        np.testing.assert_array_equal(by_fields(average, plan)(frame), painted)  # type: ignore[arg-type]


def test_quicktime_has_codes_of_its_own_for_some_languages() -> None:
    assert [container_language(code, "mov") for code in ("deu", "swe", "eng")] == ["ger", "sve", "eng"]
    assert [container_language(code, "matroska") for code in ("deu", "sve", "hr ")] == ["deu", "swe", "hrv"]
