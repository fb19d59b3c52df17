import json
import re
from pathlib import Path

import pytest
from tiny_data import make_parts

from lriad import LriadError
from lriad.protocol import run_protocol

OVERRIDES = [
    "steps=1",
    "prompts_per_step=2",
    "group_size=2",
    "completions_per_device=4",
    "max_completion_tokens=8",
    "max_pixels=12544",
    "reward=paper",
    "paper_reading=ungated",
    "report_to=[]",
]


@pytest.fixture
def two_sets(tmp_path: Path) -> tuple[str, str]:
    first = make_parts(tmp_path / "first")
    second = make_parts(tmp_path / "second", category="disc")
    return first, second


def test_both_ways_and_resumed(two_sets, tiny_policy_dir, tmp_path, capsys):
    overrides = [*OVERRIDES, f"policy={tiny_policy_dir}"]
    directions = run_protocol(*two_sets, "embedded-cpu", overrides, "all", tmp_path / "out")
    assert [(d.train_on, d.test_on) for d in directions] == [two_sets, two_sets[::-1]]
    for direction in directions:
        assert len(direction.before.outcomes) == len(direction.after.outcomes) == 12
    report = (tmp_path / "out" / "protocol.md").read_text()
    for words in ("before", "after", "always normal", "always defect", "After minus before"):
        assert words in report
    assert report.strip() in capsys.readouterr().out + report

    lines = (tmp_path / "out" / "a-to-b" / "after" / "predictions.jsonl").read_text().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 12
    assert all(json.loads(line)["adapter_sha256"] for line in lines)

    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("predictions.jsonl")}
    run_protocol(*two_sets, "embedded-cpu", overrides, "all", tmp_path / "out")
    assert {path: path.read_bytes() for path in before} == before


def test_with_good_images_beside_zero_shot_and_never_in_one_table(tmp_path, tiny_policy_dir):
    first, second = make_parts(tmp_path / "first"), make_parts(tmp_path / "second", category="disc")
    arguments = (first, second, "embedded-cpu", [*OVERRIDES, f"policy={tiny_policy_dir}"], "all", tmp_path / "out")
    plain = [direction.to_markdown() for direction in run_protocol(*arguments)]
    told = (tmp_path / "out" / "protocol.md").read_text()
    assert told == "\n\n".join(plain) + "\n"
    zero_shot = {path: path.read_bytes() for path in (tmp_path / "out").rglob("predictions.jsonl")}

    directions = run_protocol(*arguments, good=3)
    assert {path: path.read_bytes() for path in zero_shot} == zero_shot
    for direction, before in zip(directions, plain, strict=True):
        # What was there without good images stands first, as it was; their tables come after a heading.
        whole, known = direction.to_markdown(), direction.few_shot
        assert whole.startswith(before + "\n\n### With 3 good images of each test category")
        assert known is not None
        assert set(known.before.outcomes.ids) == set(known.after.outcomes.ids) < set(direction.before.outcomes.ids)
        assert len(known.before.outcomes) == len(direction.before.outcomes) - 3
    for way in ("a-to-b", "b-to-a"):
        rows = {}
        for name in ("before", "after"):
            folder = tmp_path / "out" / way / f"{name}-3-good"
            rows[name] = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
            assert {row["setting"] for row in rows[name]} == {"3 good"}
            assert len(list((folder / "memories").iterdir())) == 1
        assert not {row["memory"] for row in rows["before"]} & {row["memory"] for row in rows["after"]}
        # The decision is the memory's where there is an answer.
        assert {row["decision"] for row in rows["after"]} <= {"defect", "normal", "review"}
    assert len(re.findall("(?m)^### ", (tmp_path / "out" / "protocol.md").read_text())) == 2

    done = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.memory")}
    done |= {path: path.read_bytes() for path in (tmp_path / "out").rglob("predictions.jsonl")}
    assert len(done) == 4 + 8
    run_protocol(*arguments, good=3)
    assert {path: path.read_bytes() for path in done} == done


def test_too_few_good_images_are_told_before_anything_is_done(two_sets, tmp_path, tiny_policy_dir):
    with pytest.raises(LriadError, match=r"category 'square': has 8 good images"):
        run_protocol(*two_sets[::-1], "embedded-cpu", [f"policy={tiny_policy_dir}"], "all", tmp_path / "out", good=8)
    assert not (tmp_path / "out").exists()


def test_shared_categories_are_refused(tmp_path, tiny_policy_dir):
    first, second = make_parts(tmp_path / "first"), make_parts(tmp_path / "second")
    with pytest.raises(LriadError, match="both data sets have the category 'square'"):
        run_protocol(first, second, "embedded-cpu", [f"policy={tiny_policy_dir}"], "all", tmp_path / "out")
