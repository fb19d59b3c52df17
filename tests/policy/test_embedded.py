"""The policy in the package, on procedural parts of categories that it has never seen."""

import json
import shutil

import pytest
from PIL import Image

from lriad import Inspector, LriadError
from lriad.data.synthetic import FAMILIES, defect_kinds, render
from lriad.policy import load_policy
from lriad.policy.loading import resolve_source
from lriad.verdict import follows_format, parse_label


@pytest.fixture(scope="module")
def policy():
    return load_policy("embedded", device="cpu")


@pytest.fixture(scope="module")
def parts():
    """Two sound and two defective parts of some categories: (image, object name, whether it is defective)."""
    found = []
    for family in ("objects", "textures"):
        for name in list(FAMILIES[family].categories)[::3]:
            for seed in range(4):
                kind = defect_kinds(name)[seed] if seed % 2 else None
                image = Image.fromarray(render(name, 9000 + seed, 0, kind).image)
                found.append((image, name.replace("_", " "), kind is not None))
    return found


def test_answers_follow_the_format_and_beat_chance_by_far(policy, parts):
    truth = [is_defect for _, _, is_defect in parts]
    completions = policy.reason([policy.encode(image, name) for image, name, _ in parts], max_new_tokens=64)
    texts = [completion.text for completion in completions]
    assert sum(map(follows_format, texts)) >= 0.9 * len(texts)
    labels = [parse_label(text) for text in texts]
    right = {True: [], False: []}
    for label, is_defect in zip(labels, truth, strict=True):
        right[is_defect].append(label == ("defect" if is_defect else "normal"))
    balanced = sum(sum(values) / len(values) for values in right.values()) / 2
    assert balanced >= 0.8, "docs/results.md measures it on more images"


def answers(policy, parts):
    prompts = [policy.encode(image, name) for image, name, _ in parts]
    fast = [answer.p_defect for answer in policy.fast(prompts)]
    return fast, [completion.text for completion in policy.reason(prompts, max_new_tokens=64)]


def test_in_half_precision_it_judges_much_the_same(policy, parts):
    whole, _ = answers(policy, parts)
    half, _ = answers(load_policy("embedded", device="cpu", dtype="bfloat16"), parts)
    assert half == pytest.approx(whole, abs=0.25)
    assert half != whole


@pytest.mark.gpu
def test_on_a_gpu_it_says_what_it_says_on_a_cpu(policy, parts):
    there = load_policy("embedded")
    assert (there.device.type, there.dtype) == ("cuda", policy.dtype)
    (p, texts), (p_there, texts_there) = answers(policy, parts), answers(there, parts)
    assert p_there == pytest.approx(p, abs=1e-2), "convolutions round to TF32 there: 0.002 apart on an H200"
    assert sum(a == b for a, b in zip(texts, texts_there, strict=True)) >= 0.9 * len(texts)


def test_five_lines_of_python(tmp_path, parts):
    image, name, _ = parts[0]
    image.save(tmp_path / "part.jpg")
    verdict = Inspector("embedded").inspect(tmp_path / "part.jpg", object_name=name)
    assert verdict.label in ("defect", "normal", "unparsable")
    assert 0 <= verdict.p_defect <= 1
    assert len(verdict.policy_sha256) == 64


def test_package_holds_safetensors_of_at_most_20_megabytes_and_a_card():
    from pathlib import Path

    files = list(Path(resolve_source("embedded").base).iterdir())
    assert sum(file.stat().st_size for file in files) <= 20e6
    assert not [file for file in files if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert "README.md" in {file.name for file in files}


def test_words_for_the_eyes_of_another_version_are_refused_with_the_reason(tmp_path):
    shutil.copytree(resolve_source("embedded").base, tmp_path / "old")
    file = tmp_path / "old" / "config.json"
    config = json.loads(file.read_text())
    config["vision_config"]["hidden_size"] -= 1
    file.write_text(json.dumps(config))
    with pytest.raises(LriadError, match=r"hand on 435 channels, those of this version 436; use the version of lriad"):
        load_policy(str(tmp_path / "old"), device="cpu")
