import json
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


def test_shared_categories_are_refused(tmp_path, tiny_policy_dir):
    first, second = make_parts(tmp_path / "first"), make_parts(tmp_path / "second")
    with pytest.raises(LriadError, match="both data sets have the category 'square'"):
        run_protocol(first, second, "embedded-cpu", [f"policy={tiny_policy_dir}"], "all", tmp_path / "out")
