"""Inspection into files: every image exactly once, whatever happens in between."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from full_disk import files_up_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.inspection import Summary, inspect_rows, inspect_to_file
from lriad.policy import Completion

TEXT = '<think>line one\nline "two", with a comma\r\nand\u2028é</think> <answer>B</answer>'


class QuietPolicy:
    """Says one text with line breaks and quotes of every image."""

    name = "quiet"
    adapter_sha256 = None
    operating_point: ClassVar[dict[str, float]] = {}

    def __init__(self, policy_sha256: str = "a" * 64, text: str = TEXT) -> None:
        self.policy_sha256 = policy_sha256
        self.text = text
        self.inspected = 0

    def encode(self, image: Image.Image, object_name: str) -> str:
        return object_name

    def reason(self, prompts: Sequence[str], *, max_new_tokens: int = 512) -> list[Completion]:
        self.inspected += len(prompts)
        return [Completion(self.text, 0.25, False)] * len(prompts)

    def fast(self, prompts: Sequence[str]) -> list[Completion]:
        return [Completion("", 0.25, False)] * len(prompts)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Nine photographs, the fourth of which is none."""
    made = []
    for index in range(9):
        path = tmp_path / "photographs" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (56, 56), (25 * index, 0, 0)).save(path)
        made.append(Sample(f"nut/{index}.png", str(path), "normal", "nut", "nut"))
    Path(made[3].image).write_bytes(b"no image")
    return made


def rows_of(path: Path) -> list[dict]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    return [json.loads(line) for line in path.read_bytes().splitlines() if line]


def ids_of(path: Path) -> list[str]:
    return sorted(row["id"] for row in rows_of(path))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_one_row_an_image_and_the_bad_one_does_not_stop_the_rest(
    samples: list[Sample], tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / "new folder" / f"out{suffix}"
    summary = inspect_to_file(samples, output, policy=QuietPolicy(), batch_size=2)
    assert summary == Summary(images=9, normal=8, defect=0, review=0, errors=1, resumed=0)
    rows = rows_of(output)
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    assert all(row["text"] == TEXT for row in rows if not row.get("error"))
    assert "3.png" in rows[3]["error"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".jsonl", ".csv"]), share=st.floats(0, 1))
def test_cut_off_anywhere_and_started_again_the_file_is_what_it_would_have_been(
    samples: list[Sample], tmp_path: Path, suffix: str, share: float
) -> None:
    """What a kill leaves is a beginning of the file: try every kind of beginning."""
    whole = tmp_path / f"whole{suffix}"
    if not whole.exists():
        inspect_to_file(samples, whole, policy=QuietPolicy())
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: round(share * len(content))])
    before = {row["id"] for row in rows_of(whole)}
    policy = QuietPolicy()
    summary = inspect_to_file(samples, cut, policy=policy)
    assert [row["id"] for row in rows_of(cut)] == [row["id"] for row in rows_of(whole)]
    assert set(ids_of(cut)) == before
    assert summary.images == 9
    assert policy.inspected <= 9 - summary.resumed


def test_a_finished_file_is_left_alone(samples: list[Sample], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    first = inspect_to_file(samples, output, policy=QuietPolicy())
    content, policy = output.read_bytes(), QuietPolicy()
    second = inspect_to_file(samples, output, policy=policy)
    assert output.read_bytes() == content
    assert policy.inspected == 0
    assert (second.resumed, second.normal, second.errors) == (9, first.normal, first.errors)


def test_new_images_are_added_to_what_is_there_and_only_the_asked_are_counted(
    samples: list[Sample], tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    inspect_to_file(samples[:6], output, policy=QuietPolicy())
    summary = inspect_to_file(samples[4:], output, policy=QuietPolicy())
    assert (summary.images, summary.resumed) == (5, 2)
    assert ids_of(output) == sorted(sample.id for sample in samples)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"policy": QuietPolicy("b" * 64)}, "policy_sha256"),
        ({"mode": "fast"}, "mode"),
        ({"threshold": 0.5}, "threshold"),
    ],
)
@pytest.mark.parametrize("done", [4, 9])
def test_rows_of_another_policy_or_setting_are_never_mixed(
    samples: list[Sample], tmp_path: Path, suffix: str, other: dict, named: str, done: int
) -> None:
    """Neither in a file that is begun nor in one that is finished."""
    output = tmp_path / f"out{suffix}"
    inspect_to_file(samples[:done], output, policy=QuietPolicy())
    content = output.read_bytes()
    with pytest.raises(LriadError, match=named) as caught:
        inspect_to_file(samples, output, **{"policy": QuietPolicy(), **other})
    assert "\n" not in str(caught.value)
    assert output.read_bytes() == content


def test_the_same_threshold_goes_on(samples: list[Sample], tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    inspect_to_file(samples[:5], output, policy=QuietPolicy(), threshold=1)
    assert inspect_to_file(samples, output, policy=QuietPolicy(), threshold=1.0).resumed == 5


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_errors_count_as_done_unless_they_are_to_be_tried_again(
    samples: list[Sample], tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    inspect_to_file(samples, output, policy=QuietPolicy())
    Image.new("RGB", (56, 56)).save(samples[3].image)
    assert inspect_to_file(samples, output, policy=QuietPolicy()).errors == 1
    policy = QuietPolicy()
    summary = inspect_to_file(samples, output, policy=policy, retry_errors=True)
    assert (summary.errors, summary.resumed, policy.inspected) == (0, 8, 1)
    assert ids_of(output) == [sample.id for sample in samples]
    assert all(row["text"] == TEXT for row in rows_of(output))


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.jsonl", b"my notes"), ("notes.csv", b"name,price\nscrew,2\n"), ("notes.jsonl", b'{"id"; 3}\n')],
)
def test_a_file_of_something_else_is_never_touched(
    samples: list[Sample], tmp_path: Path, name: str, content: bytes
) -> None:
    output = tmp_path / name
    output.write_bytes(content)
    with pytest.raises(LriadError, match="notes"):
        inspect_to_file(samples, output, policy=QuietPolicy())
    assert output.read_bytes() == content


def test_a_damaged_line_in_the_middle_is_named(samples: list[Sample], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    inspect_to_file(samples, output, policy=QuietPolicy())
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join([*lines[:2], b"\x00\x00\n", *lines[2:]]))
    with pytest.raises(LriadError, match="line 3"):
        inspect_to_file(samples, output, policy=QuietPolicy())


@pytest.mark.parametrize("output", ["out.txt", "out", "photographs", "photographs/0.png/out.csv"])
def test_an_output_that_cannot_be_written_is_one_line(samples: list[Sample], tmp_path: Path, output: str) -> None:
    with pytest.raises(LriadError) as caught:
        inspect_to_file(samples, tmp_path / output, policy=QuietPolicy())
    assert "\n" not in str(caught.value)


def test_two_samples_of_one_id_are_refused(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(LriadError, match="unique"):
        inspect_to_file([samples[0], samples[0]], tmp_path / "out.jsonl", policy=QuietPolicy())


def test_a_second_run_on_the_same_file_is_refused_while_the_first_is_at_work(
    samples: list[Sample], tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"

    class Nosy(QuietPolicy):
        def reason(self, *arguments, **options):  # type: ignore[no-untyped-def]
            with pytest.raises(LriadError, match="another run"):
                inspect_to_file(samples, output, policy=QuietPolicy())
            return super().reason(*arguments, **options)

    inspect_to_file(samples, output, policy=Nosy(), batch_size=3)
    assert ids_of(output) == [sample.id for sample in samples]


def test_a_full_disk_is_one_line_and_whole_rows_stay(samples: list[Sample], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with pytest.raises(LriadError, match=r"out\.jsonl: cannot be written") as caught, files_up_to(2500):
        inspect_to_file(samples, output, policy=QuietPolicy())
    assert "\n" not in str(caught.value)
    assert 0 < len(ids_of(output)) < 9
    assert output.read_bytes().endswith(b"\n")


def test_file_names_that_are_not_utf8_come_back_at_a_restart(tmp_path: Path) -> None:
    sample = Sample("\udcff.png", str(tmp_path / "missing.png"), "unknown", "nut", "nut")
    for suffix in (".jsonl", ".csv"):
        output = tmp_path / f"out{suffix}"
        inspect_to_file([sample], output, policy=QuietPolicy())
        assert inspect_to_file([sample], output, policy=QuietPolicy()).resumed == 1


def test_several_processes_need_the_policy_by_name(samples: list[Sample]) -> None:
    with pytest.raises(LriadError, match="by name"):
        inspect_rows(samples, policy=QuietPolicy(), processes=2, batch_size=2)
    with pytest.raises(LriadError, match="processes 0"):
        inspect_rows(samples, policy=QuietPolicy(), processes=0)


# --- real processes with a real policy ----------------------------------------------------------------


@pytest.fixture(scope="module")
def many_samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("many")
    made = []
    for index in range(40):
        path = folder / f"{index:02}.png"
        Image.effect_noise((64, 64), 40 + index).convert("RGB").save(path)
        made.append(Sample(path.name, str(path), "unknown", "nut", "nut"))
    (folder / "07.png").write_bytes(b"")
    return made


def wait_for_rows(output: Path, count: int, process: psutil.Process | psutil.Popen) -> None:
    """Return when the file has so many lines; fail if the process ends first."""
    while not output.exists() or output.read_bytes().count(b"\n") < count:
        try:
            process.wait(0.01)
            pytest.fail("the process ended before it was killed")
        except psutil.TimeoutExpired:
            continue


def test_killed_and_started_again_every_image_is_there_exactly_once(
    many_samples: list[Sample], tiny_policy_dir: Path, tmp_path: Path
) -> None:
    """The command as a user runs it, with two workers, killed by SIGKILL once it has written a few rows."""
    output, folder = tmp_path / "out.jsonl", str(Path(many_samples[0].image).parent)
    command = [
        sys.executable,
        "-m",
        "lriad.cli",
        "inspect",
        folder,
        "--object",
        "nut",
        "--output",
        str(output),
    ]
    command += [
        "--policy",
        str(tiny_policy_dir),
        "--batch-size",
        "1",
        "--max-new-tokens",
        "40",
        "--device",
        "cpu",
    ]
    process = psutil.Popen([*command, "--processes", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_rows(output, 3, process)
    workers = process.children(recursive=True)
    process.kill()
    process.wait()
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=60)[1], "workers outlive a killed parent"
    done = output.read_bytes().count(b"\n")
    assert 3 <= done < 40

    by_path = [replace(sample, id=sample.image) for sample in many_samples]
    options = {"policy": tiny_policy_dir, "batch_size": 8, "max_new_tokens": 40, "device": "cpu"}
    summary = inspect_to_file(by_path, output, **options)
    assert (summary.images, summary.resumed, summary.errors) == (40, done, 1)
    assert ids_of(output) == [sample.id for sample in by_path]


def test_several_processes_a_dead_worker_and_the_rest_afterwards(
    many_samples: list[Sample], tiny_policy_dir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    options = {"policy": tiny_policy_dir, "batch_size": 1, "max_new_tokens": 40, "device": "cpu"}
    parent = psutil.Process()
    others = set(parent.children())

    def kill_one_worker() -> None:
        wait_for_rows(output, 2, parent)
        victims = [child for child in parent.children() if child not in others and "spawn_main" in str(child.cmdline())]
        victims[0].kill()

    killer = threading.Thread(target=kill_one_worker)
    killer.start()
    with pytest.raises(LriadError, match="worker process died"):
        inspect_to_file(many_samples, output, processes=2, **options)
    killer.join()
    done = ids_of(output)
    assert 2 <= len(done) == len(set(done)) < 40
    assert not [child for child in parent.children() if child not in others and "spawn_main" in str(child.cmdline())]

    summary = inspect_to_file(many_samples, output, processes=2, **options)
    assert (summary.images, summary.resumed, summary.errors) == (40, len(done), 1)
    assert ids_of(output) == [sample.id for sample in many_samples]


def test_workers_report_a_policy_that_cannot_be_loaded_in_one_line(many_samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(LriadError, match="no such folder") as caught:
        list(inspect_rows(many_samples, policy=str(tmp_path / "none"), processes=2))
    assert "\n" not in str(caught.value)


class PointedPolicy(QuietPolicy):
    """Comes with an operating point, below what it says of every image."""

    operating_point: ClassVar[dict[str, float]] = {"reason": 0.2, "fast": 0.3}


def test_a_policys_own_threshold_is_resumed_and_another_is_refused(samples: list[Sample], tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    inspect_to_file(samples[:3], output, policy=PointedPolicy())
    assert inspect_to_file(samples, output, policy=PointedPolicy()).resumed == 3
    assert inspect_to_file(samples, output, policy=PointedPolicy()).resumed == 9
    rows = [row for row in rows_of(output) if "error" not in row]
    assert {(row["threshold"], row["decision"]) for row in rows} == {(0.2, "defect")}
    with pytest.raises(LriadError, match=r"threshold 0\.2"):
        inspect_to_file(samples, output, policy=PointedPolicy(), threshold=0.5)
    with pytest.raises(LriadError, match=r"threshold 0\.2"):
        inspect_to_file(samples, output, policy=QuietPolicy())
