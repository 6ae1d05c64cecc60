"""The queue on disk: what is written comes back, and what is damaged is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from jukebox_cli.studio.job_queue import Job, JobQueue


def test_jobs_and_marks_come_back_in_order(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    for number in range(3):
        queue.jobs.append(Job.new("", f"song-{number}", {"verb": "make", "seed": 2**64 - 1}))
    queue.jobs[1].state, queue.jobs[1].message = "failed", "it went wrong"
    queue.jobs[2].levels = {"2": 1.5, "1": None}
    queue.keeps["", "tune"] = [1, 3]
    queue.save()
    again = JobQueue(tmp_path)
    assert again.jobs == queue.jobs
    assert again.keeps == queue.keeps
    assert again.next() == queue.jobs[0]
    assert again.find("", "song-2") == queue.jobs[2]
    assert again.find("other room", "song-2") is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format_version": 2}, "has format version 2"),
        ({"jobs": "none"}, "jobs"),
        ({"jobs": [{"id": "1"}]}, "jobs"),
        ({"keeps": [[]]}, "keeps"),
    ],
)
def test_a_damaged_queue_is_one_sentence_that_says_what_to_do(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    JobQueue(tmp_path).save()
    path = tmp_path / "studio.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")
    with pytest.raises(ValueError, match=r"studio\.json") as caught:
        JobQueue(tmp_path)
    assert sentence in str(caught.value)
    assert "delete it to go on without" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_job_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path)
    queue.jobs.append(Job.new("", "song-1", {"verb": "make"}))
    queue.save()
    path = tmp_path / "studio.json"
    path.write_text(path.read_text().replace('"make"', '"format disk"'), encoding="utf-8")
    with pytest.raises(ValueError, match="a job does make, continue"):
        JobQueue(tmp_path)
