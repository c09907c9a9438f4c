"""The progress of a film: a bar on a terminal, a line a minute elsewhere; frames a second and time left."""

import io

import pytest
from rich.console import Console

from fastnst.cli import film_progress as module
from fastnst.cli.film_progress import film_progress
from fastnst.video.stylize import FilmProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def lines(clock: list[float], *steps: tuple[float, FilmProgress]) -> list[str]:
    file = io.StringIO()
    with film_progress("film.mp4", Console(file=file, highlight=False)) as show:
        for at_s, progress in steps:
            clock[0] = 1000 + at_s
            show(progress)
    return file.getvalue().splitlines()


def test_a_line_a_minute(clock: list[float]) -> None:
    shown = lines(
        clock,
        (1, FilmProgress(10, 4000, 0)),
        (59, FilmProgress(590, 4000, 0)),
        (60, FilmProgress(600, 4000, 0)),
        (61, FilmProgress(610, 4000, 0)),
        (125, FilmProgress(1250, 4000, 0)),
    )
    assert shown == [
        "film.mp4: 600 of 4000 frames, 10.0 fps, 0:05:40 left",
        "film.mp4: 1250 of 4000 frames, 10.0 fps, 0:04:35 left",
    ]


def test_frames_of_an_earlier_run_were_not_painted_now(clock: list[float]) -> None:
    assert lines(clock, (60, FilmProgress(2030, 2330, 2000))) == [
        "film.mp4: 2030 of 2330 frames, 0.5 fps, 0:10:00 left"
    ]


def test_unknown_length_and_one_that_was_guessed_too_low(clock: list[float]) -> None:
    assert lines(clock, (60, FilmProgress(600, None, 0))) == ["film.mp4: 600 frames, 10.0 fps"]
    assert lines(clock, (120, FilmProgress(600, 500, 0))) == ["film.mp4: 600 of 600 frames, 10.0 fps, 0:00:00 left"]


def test_bar_on_a_terminal(clock: list[float]) -> None:
    file = io.StringIO()
    with film_progress("[red]film.mp4", Console(file=file, force_terminal=True, width=100)) as show:
        show(FilmProgress(2001, 2100, 2000))
        clock[0] += 2
        show(FilmProgress(2011, 2100, 2000))
    shown = file.getvalue()
    assert "[red]film.mp4" in shown
    assert "2011/2100" in shown
    assert "5.5 fps" in shown
