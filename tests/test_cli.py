"""The command line: what it loads, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lriad import __version__, cli
from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.evaluation import read_predictions

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "numpy",
    "PIL",
    "sklearn",
    "matplotlib",
    "cv2",
    "requests",
    "yaml",
    "scipy",
    "fastapi",
    "sqlalchemy",
)

Run = Callable[..., tuple[int, str, str]]

EVALUATE = ("evaluate", "--policy", "embedded", "--data", "folder:empty")


@pytest.fixture
def lriad(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `lriad ARGUMENTS` in this process; returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lriad", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A data set in the folder layout: two categories of six good and two defective photographs."""
    for category in ("metal_nut", "screw"):
        for index in range(8):
            path = tmp_path / "parts" / category / ("good" if index < 6 else "defect/bent") / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((64, 64), 20 + 10 * index).convert("RGB").save(path)
    return tmp_path / "parts"


def test_help_and_version_load_nothing_heavy() -> None:
    """What keeps `lriad --help` fast, on any machine."""
    code = (
        "import sys\nfrom lriad.cli import main\n"
        "for command in ([], ['inspect'], ['evaluate'], ['calibrate'], ['serve'], ['train'], ['data', 'stats']):\n"
        "    sys.argv = ['lriad', *command, '--help']\n"
        "    try: main()\n    except SystemExit as stop: assert stop.code == 0\n"
        f"print('loaded', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_version(lriad: Run) -> None:
    assert lriad("--version") == (0, f"lriad {__version__}\n", "")


def test_without_a_command_the_help_is_shown(lriad: Run) -> None:
    code, out, err = lriad()
    assert code == 2
    assert "inspect" in out + err


def assert_one_line(err: str, *words: str) -> None:
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "a.png"], ["--object 'magnetic tile'"]),
        (["inspect", "a.png", "--object", " "], ["object name"]),
        (["inspect", "empty", "--object", "nut"], ["empty", "no images"]),
        (["inspect", "no*.png", "--object", "nut"], ["no*.png", "pattern"]),
        (["inspect", "a.png", "--object", "nut", "--threshold", "2"], ["threshold 2"]),
        (["inspect", "a.png", "--object", "nut", "--processes", "0"], ["processes 0"]),
        (["inspect", "a.png", "--object", "nut", "--output", "out.xlsx"], ["out.xlsx", ".jsonl"]),
        (["inspect", "a.png", "--object", "nut", "--policy", "./none"], ["./none"]),
        (["evaluate"], ["--policy", "--predictions"]),
        (["evaluate", "--policy", "embedded"], ["--data"]),
        (["evaluate", "--policy", "embedded", "--data", "foldr:empty"], ["foldr", "folder"]),
        (["evaluate", "--predictions", "none.jsonl"], ["none.jsonl"]),
        (["evaluate", "--predictions", "none.jsonl", "--good", "5"], ["--good", "--predictions"]),
        ([*EVALUATE, "--good", "5", "--memory", "a.memory"], ["--good", "--memory"]),
        ([*EVALUATE, "--good", "5", "--reference", "a.png"], ["--good", "--reference"]),
        ([*EVALUATE, "--good", "5", "--calibration", "a.calibration"], ["--good", "--calibration"]),
        ([*EVALUATE, "--defects", "5"], ["--defects", "--good"]),
        ([*EVALUATE, "--seed", "1"], ["--seed", "--good"]),
        (["data", "stats", "folder:none"], ["none"]),
        (["data", "make", "objcts", "new"], ["objcts", "objects"]),
        (["data", "download", "mvtek", "new"], ["mvtek", "mvtec"]),
        (["train", "embeded-cpu"], ["embeded-cpu", "embedded-cpu"]),
        (["train", "embedded-cpu", "learnin_rate=1"], ["learnin_rate", "learning_rate"]),
        (["export", "./none", "new"], ["./none"]),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(
    lriad: Run,
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (56, 56)).save("a.png")
    code, out, err = lriad(*arguments)
    assert (code, out) == (2, "")
    assert_one_line(err, *words)


def test_debug_shows_the_traceback(lriad: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lriad", "inspect", "a.png", "--debug"])
    with pytest.raises(LriadError):
        cli.main()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "out.jsonl"), ["out.jsonl", "No space left", "make room"]),
        (PermissionError(13, "Permission denied", "photos"), ["photos", "Permission denied"]),
        (RuntimeError("two\nlines"), ["RuntimeError", "two lines", "--debug"]),
    ],
)
def test_any_other_failure_is_one_line_too(
    lriad: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, words: list[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "photographs", fail)
    code, _, err = lriad("inspect", "a.png", "--object", "nut")
    assert code == 2
    assert_one_line(err, *words)


def test_an_interruption_says_how_to_go_on(lriad: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "photographs", interrupt)
    code, out, err = lriad("inspect", "a.png", "--object", "nut")
    assert (code, out) == (130, "")
    assert "the same command goes on" in err
    assert err.count("\n") == 1


def test_a_reader_that_went_away_is_no_error(parts: Path) -> None:
    command = [sys.executable, "-m", "lriad.cli", "data", "stats", f"folder:{parts}"]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


# --- which images ---


def test_folders_patterns_and_files_each_image_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "line/b.PNG", "line/deep/c.jpg", "line/notes.txt", "[x].png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(name, "PNG") if name[-3:] != "txt" else Path(name).write_text("x")

    def found(*paths: str) -> list[str]:
        return [sample.id for sample in cli.photographs(paths, "nut")]

    assert found("line") == ["line/b.PNG", "line/deep/c.jpg"]
    assert found("line/", "line/b.PNG", "a.png", "a.png") == ["line/b.PNG", "line/deep/c.jpg", "a.png"]
    assert found("*.png") == ["[x].png", "a.png"]
    assert found("**/*.jpg") == ["line/deep/c.jpg"]
    assert found("l*e") == ["line/b.PNG", "line/deep/c.jpg"]
    assert found("[x].png") == ["[x].png"]
    assert found("line/notes.txt", "missing.png") == ["line/notes.txt", "missing.png"]
    [sample] = cli.photographs(["a.png"], "metal nut")
    assert (sample.label, sample.object_name) == ("unknown", "metal nut")


@given(
    sizes=st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 30), st.integers(0, 30))),
    limit=st.integers(1, 40),
)
def test_a_limit_takes_so_many_of_each_category_and_keeps_the_shares_of_labels(
    sizes: dict[str, tuple[int, int]], limit: int
) -> None:
    samples = [
        Sample(f"{category}/{label}/{index}", "x", label, category, category)
        for category, (good, bad) in sizes.items()
        for label, count in (("normal", good), ("defect", bad))
        for index in range(count)
    ]
    kept = cli.spread(samples, limit)
    assert [sample for sample in samples if sample in kept] == list(kept)
    for category, (good, bad) in sizes.items():
        labels = [sample.label for sample in kept if sample.category == category]
        assert len(labels) == min(limit, good + bad)
        if labels:
            assert abs(labels.count("defect") - len(labels) * bad / (good + bad)) <= 1


# --- with a real policy ---


@pytest.fixture
def fast(tiny_policy_dir: Path) -> list[object]:
    """Options of an inspection that takes no time."""
    return ["--policy", tiny_policy_dir, "--mode", "fast", "--device", "cpu"]


def test_exit_codes(lriad: Run, fast: list[object], parts: Path, tmp_path: Path) -> None:
    good = parts / "screw" / "good"
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    # The policy's weights are random: the threshold decides, and no p_defect reaches 1.
    assert lriad("inspect", good, "--object", "screw", *fast, "--threshold", 1)[0] == 0
    assert lriad("inspect", good, "--object", "screw", *fast, "--threshold", 0)[0] == 1
    code, out, err = lriad("inspect", good, bad, "--object", "screw", *fast, "--threshold", 0)
    assert code == 3
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[1] for row in rows] == ["defect"] * 6 + ["error"]
    assert all(len(row) == 4 for row in rows)
    assert "7 images: 0 normal, 6 defect, 0 review, 1 not inspected" in err


def test_a_missing_probability_is_a_dash() -> None:
    row = {"image": "a.png", "decision": "normal", "p_defect": None, "reasoning": "even", "text": ""}
    assert cli._cells(row) == ("a.png", "normal", "–", "even")
    found = row | {"deviation": 4.6, "unusual_place": "centre"}
    assert cli._cells(found)[3] == "deviates +4.6 at the centre; even"
    assert cli._cells(found | {"reasoning": "", "text": ""})[3] == "deviates +4.6 at the centre"


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_picture_that_was_replaced_and_another_object_are_inspected_again(
    lriad: Run, fast: list[object], parts: Path, tmp_path: Path, name: str
) -> None:
    output, good = tmp_path / name, parts / "screw" / "good"

    def rows() -> dict[str, dict]:
        return {row["id"]: row for row in read_predictions(output)}

    arguments = ["inspect", good, *fast, "--threshold", 1, "--output", output]
    assert lriad(*arguments, "--object", "screw")[0] == 0
    before = rows()
    picture = good / "0.png"
    Image.new("RGB", (64, 64), "red").save(picture)
    (tmp_path / "mended.png").write_bytes(b"no image")
    assert lriad(*arguments, "--object", "screw")[0] == 0
    after = rows()
    changed = [id_ for id_ in before if before[id_]["image_sha256"] != after[id_]["image_sha256"]]
    assert changed == [picture.as_posix()]
    assert len(after) == len(before) == 6
    assert lriad(*arguments, "--object", "bolt")[0] == 0
    assert {row["object_name"] for row in rows().values()} == {"bolt"}


def test_why_an_image_was_not_inspected_is_said_also_of_a_file(lriad: Run, fast: list[object], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    for _ in range(2):
        code, _, err = lriad("inspect", bad, "--object", "screw", *fast, "--output", tmp_path / "out.jsonl")
        assert code == 3
        assert "bad.png: not an image" in err
        assert "--retry-errors" in err


def test_an_unreadable_answer_is_a_review(lriad: Run, tiny_policy_dir: Path, parts: Path) -> None:
    """Random weights write no answer block in four tokens."""
    options = ("--policy", tiny_policy_dir, "--max-new-tokens", 4, "--device", "cpu")
    code, out, _ = lriad("inspect", parts / "screw" / "good" / "0.png", "--object", "screw", *options)
    assert code == 1
    assert out.split("\t")[1] == "review"


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_output_file_is_resumed_and_counts_all_asked(
    lriad: Run, fast: list[object], parts: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / name
    arguments = ["--object", "screw", *fast, "--threshold", 1, "--output", output]
    assert lriad("inspect", parts / "screw" / "good", *arguments)[:2] == (0, "")
    code, _, err = lriad("inspect", parts / "screw", *arguments)
    assert code == 0
    assert "8 images: 8 normal" in err
    assert output.read_bytes().count(b"\n") == 8 + name.endswith("csv")
    code, _, err = lriad("inspect", parts / "screw", *arguments, "--mode", "reason")
    assert code == 2
    assert_one_line(err, "out.", "mode")


@pytest.mark.parametrize("to_file", [False, True])
def test_a_terminal_gets_a_table(
    lriad: Run,
    fast: list[object],
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to_file: bool,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    bad = tmp_path / "[red]bad\x1b[31m.png"
    bad.write_bytes(b"no image")
    output = ["--output", tmp_path / "out.csv"] if to_file else []
    arguments = ["--object", "screw", *fast, "--threshold", 0, *output]
    code, out, _ = lriad("inspect", parts / "screw" / "good" / "0.png", bad, *arguments)
    assert code == 3
    assert "decided by" in out
    assert "0.png" in out
    assert "[red]bad" in out  # neither read as markup
    assert "bad\x1b" not in out  # nor obeyed by the terminal


def test_evaluate_writes_the_report_and_goes_on(lriad: Run, fast: list[object], parts: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["evaluate", *fast, "--data", f"folder:{parts}", "--output", run]
    code, out, _ = lriad(*arguments, "--limit", 4)
    assert code == 0
    assert "screw" in out
    assert len((run / "predictions.jsonl").read_text().splitlines()) == 8
    assert lriad(*arguments)[0] == 0
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == sorted({row["id"] for row in rows})
    assert len(rows) == 16
    assert {row["truth"] for row in rows} == {"defect", "normal"}
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "metrics.json", "table.md", "table.csv"}
    json.loads((run / "metrics.json").read_text())

    # The folder belongs to this data set: ids of another one could be the same.
    code, _, err = lriad("evaluate", *fast, "--data", f"folder:{parts / 'screw'}", "--output", run)
    assert code == 2
    assert_one_line(err, str(run), "--output")

    # Any system's predictions, ours among them, are scored from the file alone or against a data set.
    alone = lriad("evaluate", "--predictions", run / "predictions.jsonl")
    joined = lriad("evaluate", "--predictions", run / "predictions.jsonl", "--data", f"folder:{parts}")
    assert alone[0] == joined[0] == 0
    assert alone[1] == joined[1]


def test_evaluate_reports_bad_images_and_exits_3(lriad: Run, fast: list[object], parts: Path, tmp_path: Path) -> None:
    bad = parts / "screw" / "good" / "0.png"
    bad.write_bytes(b"")
    arguments = ["evaluate", *fast, "--data", f"folder:{parts}", "--output", tmp_path / "run"]
    code, _, err = lriad(*arguments)
    assert code == 3
    assert "not inspected" in err
    Image.new("RGB", (56, 56)).save(bad)
    assert lriad(*arguments, "--retry-errors")[0] == 0


def test_corrected_labels_count_without_a_new_inspection(
    lriad: Run, fast: list[object], parts: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "labels.jsonl"
    images = sorted(parts.rglob("*.png"))

    def write(label_of_first: str) -> None:
        labels = [label_of_first, *["normal", "defect"] * 4]
        rows = [
            {"id": str(index), "image": str(image), "label": label, "category": "nut", "object_name": "nut"}
            for index, (image, label) in enumerate(zip(images, labels, strict=False))
        ]
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))

    arguments = ["evaluate", *fast, "--data", f"jsonl:{manifest}", "--output", tmp_path / "run"]
    write("normal")
    assert lriad(*arguments)[0] == 0
    before = json.loads((tmp_path / "run" / "metrics.json").read_text())
    write("defect")
    assert lriad(*arguments)[0] == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) != before


# --- good parts ---


def test_remembered_parts_are_compared_with_in_inspection_and_evaluation(
    lriad: Run, parts: Path, tmp_path: Path
) -> None:
    memory, verdicts = tmp_path / "screw.memory", tmp_path / "verdicts.jsonl"
    good = parts / "screw" / "good"
    code, _, err = lriad("remember", good, "--object", "screw", "--output", memory)
    assert code == 0
    assert "6 good of a screw" in err
    assert "1 in 7" in err
    images = parts / "screw" / "defect"
    settings = ("--memory", memory, "--mode", "fast", "--note", "dust is fine")
    code, out, _ = lriad("inspect", images, *settings, "--explain", tmp_path / "maps")
    assert code in (0, 1)
    assert "deviates" in out
    assert len(list((tmp_path / "maps").glob("*.png"))) == 2
    lriad("inspect", images, *settings, "--output", verdicts)
    row = json.loads(verdicts.read_text().splitlines()[0])
    assert (row["setting"], row["note"], row["object_name"]) == ("6 good", "dust is fine", "screw")
    assert row["decision"] in ("defect", "normal")
    code, _, err = lriad("inspect", images, "--object", "screw", "--mode", "fast", "--output", verdicts)
    assert code == 2
    assert "memory" in err or "prompt_version" in err
    arguments = ("--policy", "embedded", "--data", f"folder:{parts}", "--categories", "screw", "--mode", "fast")
    code, out, _ = lriad("evaluate", *arguments, "--memory", memory, "--output", tmp_path / "run")
    assert code == 0
    assert "As the memory of good parts decides" in out
    assert "Setting: 6 good" in out
    assert "6 images of the data set are in the memory" in out


def test_parts_that_are_nearly_all_unlike_a_memory_are_told(lriad: Run, tmp_path: Path) -> None:
    for name, sigma, count in (("good", 20, 12), ("alike", 20, 6), ("unlike", 90, 6)):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.effect_noise((64, 64), sigma).convert("RGB").save(tmp_path / name / f"{index}.png")
    memory = tmp_path / "m"
    assert lriad("remember", tmp_path / "good", "--object", "screw", "--output", memory)[0] == 0
    arguments = ("--memory", memory, "--mode", "fast")
    _, _, err = lriad("inspect", tmp_path / "unlike", *arguments)
    assert "warning: 6 of 6 images are decided defective" in err
    output = ("--output", tmp_path / "v.jsonl")
    assert "warning: 6 of 6" in lriad("inspect", tmp_path / "unlike", *arguments, *output)[2]
    assert "warning: 6 of 6" in lriad("inspect", tmp_path / "unlike", *arguments, *output)[2]  # none is done again
    assert "warning" not in lriad("inspect", tmp_path / "alike", *arguments)[2]
    assert "warning" not in lriad("inspect", tmp_path / "unlike", *arguments, "--threshold", "0")[2]
    (tmp_path / "unlike" / "0.png").write_bytes(b"no image")
    assert "warning: 5 of 5 images" in lriad("inspect", tmp_path / "unlike", *arguments)[2]
    (tmp_path / "unlike" / "1.png").unlink()
    assert "warning" not in lriad("inspect", tmp_path / "unlike", *arguments)[2]  # of four, nothing is said


def test_an_evaluation_with_good_images_of_each_category(
    lriad: Run, fast: list[object], parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", *fast, "--data", f"folder:{parts}", "--good", 3]
    code, out, err = lriad(*arguments)
    assert code == 0
    assert "Setting: 3 good" in out
    assert "As the memory of good parts decides" in out
    (run,) = (tmp_path / "runs").iterdir()
    assert str(run / "report.html") in str(tmp_path / err.split("report: ")[1].strip())
    assert run.name.endswith("-3-good-seed-0")
    assert {path.name for path in (run / "memories").iterdir()} == {"metal_nut.memory", "screw.memory"}
    kept = {path: path.read_bytes() for path in (run / "predictions.jsonl", *(run / "memories").iterdir())}
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * (8 - 3)
    assert lriad(*arguments)[1] == out
    for other in (["--seed", 1], ["--defects", 5]):
        code, _, err = lriad(*arguments, *other, "--output", run)
        assert code == 2
        assert_one_line(err, "--output" if other[0] == "--seed" else "good 3")
    assert {path: path.read_bytes() for path in kept} == kept
    code, _, err = lriad(*arguments[:-1], 6)
    assert code == 2
    assert_one_line(err, "'metal_nut'", "6 good images", "--categories")
    assert len(list((tmp_path / "runs").iterdir())) == 1


# --- thresholds that keep a promise, and heat-maps ---


def test_a_calibration_made_of_labelled_images_decides_the_next_ones_and_no_others(
    lriad: Run, parts: Path, tmp_path: Path
) -> None:
    calibration, verdicts = tmp_path / "screw.calibration.json", tmp_path / "verdicts.jsonl"
    labelled = ("--policy", "embedded", "--data", f"folder:{parts}", "--categories", "screw", "--mode", "fast")
    code, _, err = lriad("calibrate", *labelled, "--max-miss-rate", "0.02", "--output", calibration)
    assert (code, err.count("149")) == (2, 1)  # two defects promise nothing of the kind
    assert not calibration.exists()
    promise = ("--max-miss-rate", "0.85", "--max-false-alarm-rate", "0.5")
    code, out, _ = lriad("calibrate", *labelled, *promise, "--output", calibration)
    assert code == 0
    assert "at most 85 % of defective parts" in out
    images = (parts / "screw" / "good", parts / "screw" / "defect", "--mode", "fast")
    code, _, _ = lriad("inspect", *images, "--object", "screw", "--calibration", calibration, "--output", verdicts)
    assert code in (0, 1)
    rows = [json.loads(line) for line in verdicts.read_text().splitlines()]
    kept = json.loads(calibration.read_text())
    low, high = (kept["calibration"][name] for name in ("normal_below", "defect_from"))
    for row in rows:
        p = row["p_defect"]
        assert row["decision"] == ("normal" if p < low else "defect" if p >= high else "review")
        assert row["calibration"] == kept["sha256"]
    for arguments, hint in (
        ((*images, "--object", "bolt"), "this calibration is of 'screw'"),
        ((parts / "screw", "--object", "screw", "--mode", "reason"), "mode"),
        ((*images, "--object", "screw", "--threshold", "0.5"), "give one of them"),
        ((*images, "--object", "screw", "--note", "dust is fine"), "note"),
    ):
        code, out, err = lriad("inspect", *arguments, "--calibration", calibration)
        assert code in (2, 3)
        assert hint in out + err
    memory = tmp_path / "bolt.memory"
    assert lriad("remember", parts / "screw" / "good", "--object", "hex bolt", "--output", memory)[0] == 0
    code, _, err = lriad("calibrate", *labelled, *promise, "--memory", memory, "--output", tmp_path / "bolt.json")
    assert (code, "call the category's folder hex_bolt" in err) == (2, True)  # before anything is inspected
    code, out, _ = lriad("evaluate", *labelled, "--calibration", calibration, "--output", tmp_path / "run")
    assert code == 0
    assert "a review is neither" in out
    code, _, err = lriad("drift", verdicts, "--calibration", calibration)
    assert (code, "has 6 good parts to compare with, and 20 are needed" in err) == (2, True)


def test_an_evaluation_keeps_heat_maps_measures_them_and_shows_them(lriad: Run, tmp_path: Path) -> None:
    lriad("data", "make", "textures", tmp_path / "textures", "--images", "4")
    run = tmp_path / "run"
    arguments = ("--data", f"jsonl:{tmp_path / 'textures' / 'samples.jsonl'}", "--limit", "2", "--mode", "fast")
    code, out, _ = lriad("evaluate", "--policy", "embedded", *arguments, "--explain", "--output", run)
    assert code == 0
    assert "Where the defects are" in out
    images = json.loads((run / "metrics.json").read_text())["images"]
    assert len(list((run / "maps").glob("*.npy"))) == images
    located = json.loads((run / "metrics.json").read_text())["localisation"]
    assert all(0 <= one["found"]["pixel_auroc"] <= 1 for one in located.values())
    lines = {line.split("|")[1].strip(): line.split("|")[4:-1] for line in out.splitlines() if line.startswith("| ")}
    for name, one in located.items():  # beside centre and chance
        pointing = (one[by]["pointing"] for by in ("found", "centre", "chance"))
        assert [float(cell) for cell in lines[name][4:]] == [round(100 * value, 2) for value in pointing]
    report = (run / "report.html").read_text()
    assert "Where the defects are" in report
    assert report.count('"heatmap":"') == images


def test_a_file_of_predictions_opens_no_picture(lriad: Run, parts: Path, tmp_path: Path) -> None:
    secret = parts / "screw" / "good" / "0.png"
    rows = [
        {"id": "a", "image": str(secret), "truth": "normal", "label": "A"},
        {"id": "b", "truth": "defect", "label": "A"},
    ]
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert lriad("evaluate", "--predictions", tmp_path / "theirs.jsonl", "--output", tmp_path / "run")[0] == 0
    assert '"picture":"' not in (tmp_path / "run" / "report.html").read_text()


def test_a_memory_that_cannot_be_made_leaves_what_is_there(lriad: Run, parts: Path, tmp_path: Path) -> None:
    memory = tmp_path / "m"
    memory.write_text("old")
    good = parts / "screw" / "good"
    one = good / "0.png"
    for arguments, hint in (
        ((one, "--object", "screw"), "needs two"),
        ((good,), "Name it in words"),
        ((parts / "nothing", "--object", "screw"), "no such file or folder"),
        ((good, "--object", "screw", "--defects", parts / "nothing"), "no such file or folder"),
        ((good, "--object", "screw", "--roi", "0,0,500,500"), "beyond this image"),
        ((one, "--object", "screw", "--tiles", "auto"), "needs two"),
        ((good, "--object", "screw", "--tiles", "auto", "--policy", "http://127.0.0.1:9/v1#m"), "server"),
        ((good, "--object", "screw", "--add-to", memory), "memory"),
    ):
        code, out, err = lriad("remember", *arguments, "--output", memory)
        assert (code, out) == (2, "")
        assert hint in err.splitlines()[-1]
        assert memory.read_text() == "old"


def test_a_memory_of_as_many_tiles_as_the_eyes_need(lriad: Run, tmp_path: Path) -> None:
    for index in range(6):
        file = tmp_path / ("good" if index < 3 else "more") / f"{index}.png"
        file.parent.mkdir(exist_ok=True)
        Image.effect_noise((640, 640), 40).convert("RGB").save(file)
    memory = tmp_path / "m"
    auto = ("--output", memory, "--tiles", "auto")
    code, out, err = lriad("remember", tmp_path / "good", "--object", "plate", *auto)
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == (
        "looks at each image in 2 tiles along its longer side, and whole unless it is very long; each look takes about "
        "as long"
    )
    found = lriad("inspect", tmp_path / "more", "--memory", memory, "--mode", "fast", "--output", tmp_path / "v.jsonl")
    assert found[0] in (0, 1)
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [row["setting"] for row in rows] == ["3 good, whole and 2 tiles"] * 3
    tiles = [[left, top, left + 356, top + 356] for top in (0, 284) for left in (0, 284)]
    assert all(row["view"] in (None, *tiles) for row in rows)
    # What is added is looked at as what is there.
    code, _, err = lriad("remember", tmp_path / "more", "--add-to", memory, *auto)
    assert code == 0
    assert "6 good of a plate" in err
    assert "looks at" not in err
    region = ("--object", "plate", "--roi", "0,0,300,300")
    code, _, err = lriad("remember", tmp_path / "good", *region, *auto)
    assert code == 0
    assert err.splitlines()[0] == "looks at whole regions: the policy's eyes see them about as large as they are"
    code, _, err = lriad("remember", tmp_path / "more", "--add-to", memory, "--roi", "0,0,300,300", *auto)
    assert code == 0
    code, _, err = lriad("remember", tmp_path / "more", "--add-to", memory, "--roi", "0,0,200,300", *auto)
    assert code == 2
    assert "give no other --roi" in err


@pytest.mark.parametrize(("tiles", "expected"), [("abc", "auto, or 1 to 16"), ("1.5", "auto"), ("0", "1 to 16")])
def test_tiles_that_are_no_number_of_them(lriad: Run, parts: Path, tmp_path: Path, tiles: str, expected: str) -> None:
    good = parts / "screw" / "good"
    code, out, err = lriad("remember", good, "--object", "screw", "--output", tmp_path / "m", "--tiles", tiles)
    assert (code, out) == (2, "")
    assert_one_line(err, "tiles", tiles, expected)
    assert not (tmp_path / "m").exists()


# --- data ---


def test_stats_as_table_and_json(lriad: Run, parts: Path) -> None:
    code, out, _ = lriad("data", "stats", f"folder:{parts}")
    assert code == 0
    assert "metal_nut" in out
    code, out, _ = lriad("data", "stats", f"folder:{parts}", "--json", "--categories", "screw")
    assert code == 0
    [row, *_] = json.loads(out)["rows"]
    assert (row["category"], row["good"], row["defect"], row["defect_percent"]) == ("screw", 6, 2, 25.0)


def test_a_licence_that_is_not_accepted_is_shown_and_nothing_is_fetched(lriad: Run, tmp_path: Path) -> None:
    code, out, err = lriad("data", "download", "mvtec", tmp_path / "new")
    assert (code, out) == (2, "")
    assert "CC BY-NC-SA" in err
    assert "--accept-licence" in err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_make_names_a_spec_that_can_be_read(lriad: Run, tmp_path: Path) -> None:
    code, out, _ = lriad("data", "make", "objects", tmp_path / "made", "--images", 2, "--size", 64)
    assert code == 0
    assert lriad("data", "stats", out.strip())[0] == 0
