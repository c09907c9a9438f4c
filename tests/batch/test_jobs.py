"""Which files a batch means, and which part of them a shard does."""

from pathlib import Path

import pytest

from fastnst.batch.jobs import WHOLE, Job, JobList, Shard, choose_shard, digest, places_of, read_names, settle_jobs
from fastnst.errors import InputError, OutputError, SettingError


def test_a_list_gives_back_what_was_put_in() -> None:
    jobs = [Job("in/a.jpg", "a.jpg"), Job("in/b.gif", "b.png"), Job("b\udcff.jpg", "b\udcff.jpg"), Job("x", "")]
    held = JobList()
    for job in jobs:
        held.append(job)
    assert list(held) == jobs
    assert held[1:3] == jobs[1:3]


def test_a_digest_is_the_same_on_every_computer() -> None:
    assert digest("trip/a.png") == 0xC4872C9DACB6E262


def test_shards_hold_every_job_once() -> None:
    jobs = [Job(f"in/{number}.jpg", f"{number}.jpg") for number in range(500)]
    parts = [settle_jobs(jobs, "out", what="photos", shard=Shard(number, 3)) for number in (1, 2, 3)]
    assert sorted(job for part in parts for job in part.jobs) == sorted(jobs)
    assert all(part.total == 500 and 120 < len(part.jobs) < 210 for part in parts)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, WHOLE),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1"}, "7/8"),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "0"}, "1/8"),
        (
            {
                "SLURM_ARRAY_TASK_ID": "20",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "10",
            },
            "2/3",
        ),
        ({"RANK": "2", "WORLD_SIZE": "4"}, "3/4"),
        ({"RANK": "2"}, WHOLE),
    ],
)
def test_a_shard_from_the_environment(environment: dict[str, str], expected: object) -> None:
    assert str(choose_shard(None, environment)) == str(expected)
    assert choose_shard("2/5", environment) == Shard(2, 5)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/3", "1/0"])
def test_a_shard_that_is_none(text: str) -> None:
    with pytest.raises(SettingError, match="they count from 1/64 to 64/64"):
        choose_shard(text, {})


def test_places_of_a_list() -> None:
    assert list(places_of(["a/1.jpg", "./b/1.jpg"])) == [("a/1.jpg", "a/1.jpg"), ("./b/1.jpg", "b/1.jpg")]
    assert [place for _, place in places_of(["/x/bc/1.jpg", "/x/b/2.jpg"])] == ["bc/1.jpg", "b/2.jpg"]
    assert [place for _, place in places_of(["/x/b/1.jpg", "rel/2.jpg"])] == ["1.jpg", "rel/2.jpg"]
    assert [place for _, place in places_of(["../up/1.jpg", "../up/c/2.jpg"])] == ["1.jpg", "c/2.jpg"]
    assert [place for _, place in places_of(["s3://pot/in/1.jpg", "s3://pot/in/d/2.jpg"])] == ["1.jpg", "d/2.jpg"]


def test_a_list_file(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.jpg\r\n\nb c.jpg\n")
    assert read_names(str(tmp_path / "list.txt")) == ["a.jpg", "b c.jpg"]
    (tmp_path / "list.txt").write_bytes(b"\n")
    for name, words in (("list.txt", "names no file"), ("gone.txt", "cannot be read")):
        with pytest.raises(InputError, match=words):
            read_names(str(tmp_path / name))


def test_clashes_are_refused_and_repeats_dropped(tmp_path: Path) -> None:
    source = str(tmp_path / "a.gif")
    plan = settle_jobs(
        [Job(source, "a.png"), Job(f"{tmp_path}/./a.gif", "a.png")], str(tmp_path / "out"), what="photos"
    )
    assert [*plan.jobs] == [Job(source, "a.png")]
    assert plan.total == 1
    with pytest.raises(OutputError, match=r"both .*a\.gif and .*a\.bmp would be written there"):
        settle_jobs([Job(source, "a.png"), Job(str(tmp_path / "a.bmp"), "a.png")], str(tmp_path), what="photos")
    with pytest.raises(OutputError, match="is one of the photos"):
        settle_jobs([Job(source, "a.gif")], str(tmp_path), what="photos")
