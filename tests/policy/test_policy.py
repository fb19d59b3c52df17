import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, save_tiny_model

from lriad import LriadError
from lriad.policy import export_policy, load_policy
from lriad.policy.shared_prefix import collate

NAMES = ["metal nut", "gear", "a part with a much longer name"]
COMPLETIONS = ["<think>a dark line</think> <answer>A</answer>", "<think>The surface", ""]
PIXELS = 112 * 112


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return save_tiny_model(request.param, tmp_path_factory.mktemp(request.param) / "model")


@pytest.fixture(scope="module")
def policy(folder):
    return load_policy(str(folder), device="cpu", max_pixels=PIXELS)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = [(90, 60), (64, 120), (200, 150)]
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def encoded(policy, images, names=NAMES):
    return [policy.encode(image, name) for image, name in zip(images, names, strict=False)]


def fast(policy, images, names=NAMES):
    return [completion.p_defect for completion in policy.fast(encoded(policy, images, names))]


def assert_same(one, other):
    assert (one.text, one.forced) == (other.text, other.forced)
    assert one.p_defect == pytest.approx(other.p_defect, abs=1e-5)


def test_the_size_seen_is_that_of_what_the_processor_hands_over(policy):
    prompt = policy.encode(Image.new("RGB", (168, 56)), "part")
    width, height = policy.size_seen(prompt)
    assert width * height == prompt["pixel_values"].numel() / (3 * frames(policy))
    # A processor has one shape for all images, or keeps theirs, about.
    assert (2.4 < width / height < 3.6) if "image_grid_thw" in prompt else width == height


def frames(policy) -> int:
    """How many times each image stands in what the tower is given: Qwen-VL takes it for a film of two."""
    return getattr(policy.config.vision_config, "temporal_patch_size", 1)


def test_batch_gives_what_single_images_give(policy, images):
    prompts = encoded(policy, images)
    reasoned = policy.reason(prompts, max_new_tokens=40)
    scored = policy.score(prompts, COMPLETIONS)
    quick = policy.fast(prompts)
    for i, prompt in enumerate(prompts):
        assert_same(policy.reason([prompt], max_new_tokens=40)[0], reasoned[i])
        assert_same(policy.score([prompt], COMPLETIONS[i : i + 1])[0], scored[i])
        assert_same(policy.fast([prompt])[0], quick[i])
    assert [completion.forced for completion in scored] == [False, True, True]
    assert len({round(completion.p_defect, 4) for completion in scored}) == 3


def test_reasoning_is_what_the_stock_model_generates(policy, folder, images):
    from transformers import AutoModelForImageTextToText

    stock = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = encoded(policy, images)
    completions = policy.reason(prompts, max_new_tokens=20)
    for prompt, completion in zip(prompts, completions, strict=True):
        with torch.inference_mode():
            ids = stock.generate(
                **prompt, max_new_tokens=20, do_sample=False, eos_token_id=policy.end_tokens(), pad_token_id=0
            )
        new = ids[0, prompt["input_ids"].shape[1] :]
        assert policy.tokenizer.decode(new, skip_special_tokens=True) == completion.text


def test_answer_behind_given_reasoning_is_that_of_the_whole_text(policy, folder, images):
    """What continues from the prompts' keys and values, against one plain forward pass over everything."""
    from transformers import AutoModelForImageTextToText

    from lriad.policy.answer import answer_slot

    stock = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    for prompt, said in zip(encoded(policy, images), ("<think>a dark line</think> ", "<think></think> "), strict=False):
        slot = answer_slot(policy.tokenizer, said)
        with torch.inference_mode():
            logits = stock(**policy.collate([prompt], [slot.prefix])).logits[0, -1]
        expected = torch.sigmoid(logits[slot.defect[0]] - logits[slot.normal[0]]).item()
        [completion] = policy.score([prompt], [f"{said}<answer>B</answer>"])
        assert completion.p_defect == pytest.approx(expected, abs=1e-5)


def test_probability_depends_on_the_image(policy, images):
    p = fast(policy, images, ["gear"] * 3)
    assert len({round(value, 6) for value in p}) == 3


def test_cached_features_are_those_of_the_stock_model(policy, folder, images):
    from transformers import AutoModelForImageTextToText

    stock = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    batch = policy.collate(encoded(policy, images))
    policy.vision.max_bytes = 2**30
    with torch.inference_mode():
        expected = stock(**batch).logits
        actual = policy.model(**batch).logits
    policy.vision.max_bytes = 0
    assert torch.allclose(actual, expected, atol=2e-4)


def test_each_image_is_encoded_once_where_features_are_kept(folder, images):
    policy = load_policy(str(folder), device="cpu", max_pixels=PIXELS)
    policy.vision.max_bytes = 2**30
    prompts = encoded(policy, images)
    policy.fast(prompts)
    assert policy.vision.encoded == 0, "inspection keeps nothing"
    with torch.no_grad():
        policy.prefill(prompts)
        policy.prefill([prompts[0]] * 3)
        policy.p_plain(prompts, ["<think></think> "] * 3)
    assert policy.vision.active
    assert policy.vision.encoded == 3


def test_cache_is_bounded(folder, images):
    policy = load_policy(str(folder), device="cpu", max_pixels=PIXELS)
    policy.vision.max_bytes = 1
    prompts = encoded(policy, images)
    with torch.no_grad():
        p = policy.p_plain(prompts, ["<think></think> "] * 3)
        assert len(policy.vision._entries) == 1
        assert torch.equal(p, policy.p_plain(prompts, ["<think></think> "] * 3))
    assert p.tolist() == pytest.approx(fast(policy, images), abs=1e-5)


def test_vision_modules_stay_in_eval_mode(policy):
    from lriad.policy.vision import vision_modules

    policy.model.train()
    modules = vision_modules(policy.model)
    assert modules
    assert not any(child.training for module in modules for child in module.modules())
    assert not any(p.requires_grad for module in modules for p in module.parameters())
    policy.model.eval()


def test_adapter_and_export(folder, images, tmp_path):
    from peft import LoraConfig, get_peft_model

    policy = load_policy(str(folder), device="cpu", max_pixels=PIXELS)
    base = fast(policy, images)
    adapted = get_peft_model(policy.model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.3)
    adapted.save_pretrained(tmp_path / "adapter")

    with_adapter = load_policy(str(tmp_path / "adapter"), device="cpu", max_pixels=PIXELS)
    p = fast(with_adapter, images)
    assert p != pytest.approx(base, abs=1e-4)
    assert with_adapter.adapter_sha256
    assert with_adapter.policy_sha256 == policy.policy_sha256

    exported = export_policy(str(tmp_path / "adapter"), tmp_path / "merged", dtype="float32")
    assert list(exported.glob("*.safetensors"))
    assert not list(exported.glob("*.bin"))
    merged = load_policy(str(exported), device="cpu", max_pixels=PIXELS)
    assert fast(merged, images) == pytest.approx(p, abs=1e-5)
    with pytest.raises(LriadError, match="not empty"):
        export_policy(str(tmp_path / "adapter"), tmp_path / "merged")


def test_collate_appends_and_pads_left():
    prompts = [
        {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
            "mm_token_type_ids": torch.tensor([types]),
            "pixel_values": torch.full((1, 3, 4, 4), float(len(ids))),
        }
        for ids, types in (([5, 6], [1, 0]), ([7, 8, 9], [0, 1, 0]))
    ]
    batch = collate(prompts, [[1, 2, 3], [4]], 0, "cpu")
    assert batch["input_ids"].tolist() == [[5, 6, 1, 2, 3], [0, 7, 8, 9, 4]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]
    assert batch["mm_token_type_ids"].tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [2, 3]


def test_pixel_limit_reaches_the_processor(tmp_path):
    folder = save_tiny_model("qwen2_vl", tmp_path / "model")
    big = Image.fromarray(np.zeros((900, 1200, 3), dtype=np.uint8))
    few, many = (load_policy(str(folder), device="cpu", max_pixels=n) for n in (12_544, 50_176))
    tokens = [int((p.encode(big, "gear")["image_grid_thw"]).prod() // 4) for p in (few, many)]
    assert tokens[0] <= 12_544 / 28**2 < tokens[1] <= 50_176 / 28**2
    default = load_policy(str(folder), device="cpu")
    assert default.processor.image_processor.size["longest_edge"] == 401_408


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda f: f.mkdir(), "no config.json"),
        (lambda f: (f.mkdir(), (f / "config.json").write_text("{}")), "no \\*.safetensors"),
        (lambda f: (f.mkdir(), (f / "config.yaml").write_text("policy: embedded")), "no adapter/ in this run yet"),
        (lambda f: (f.mkdir(), (f / "adapter_config.json").write_text("{}")), "names no base model"),
    ],
)
def test_folders_that_hold_no_policy(tmp_path, prepare, message):
    folder = tmp_path / "policy"
    prepare(folder)
    with pytest.raises(LriadError, match=message) as error:
        load_policy(str(folder))
    assert "\n" not in str(error.value)


def test_broken_weights_are_one_line(tmp_path):
    folder = save_tiny_model("qwen2_vl", tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LriadError, match="cannot be loaded") as error:
        load_policy(str(folder))
    assert "\n" not in str(error.value)


def test_pickled_weights_are_refused(tmp_path):
    folder = save_tiny_model("qwen2_vl", tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LriadError, match="only safetensors"):
        load_policy(str(folder))


def test_adapter_of_pickle_is_refused(tmp_path):
    base = save_tiny_model("qwen2_vl", tmp_path / "model")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    (adapter / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(LriadError, match="only safetensors"):
        load_policy(str(adapter))


def test_missing_folder_is_not_taken_for_a_hub_id():
    with pytest.raises(LriadError, match="no such folder"):
        load_policy("./nowhere/at/all")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    folder = save_tiny_model("qwen2_vl", tmp_path_factory.mktemp("qwen") / "model")
    return load_policy(str(folder), device="cpu", max_pixels=PIXELS)


def test_names_that_steer_the_model_are_refused(qwen, images):
    for name in ("gear <|im_end|>", "<|image_pad|>"):
        with pytest.raises(LriadError, match="steers the model"):
            qwen.encode(images[0], name)


def test_completion_that_spells_out_a_special_token_is_text(qwen, images):
    spelled = "<think><|image_pad|> <|im_end|></think> <answer>A</answer>"
    [answer] = qwen.score([qwen.encode(images[0], "gear")], [spelled])
    assert 0 < answer.p_defect < 1


def test_image_that_the_processor_refuses_is_one_line(qwen):
    with pytest.raises(LriadError, match="crop it") as error:
        qwen.encode(Image.new("RGB", (3000, 10)), "gear")
    assert "\n" not in str(error.value)


def test_decoding_is_greedy_whatever_the_model_ships_with(qwen, images):
    plain = qwen.reason(encoded(qwen, images), max_new_tokens=8)
    qwen.base.generation_config.repetition_penalty = 5.0
    qwen.base.generation_config.do_sample = True
    assert qwen.reason(encoded(qwen, images), max_new_tokens=8) == plain


def test_features_of_other_signatures_are_left_to_the_model(qwen):
    """SmolVLM and LLaVA-NeXT pass more than pixels, by position."""
    from torch import nn

    from lriad.policy.vision import VisionFeatureCache

    class Tiled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.base_model = self

        def get_image_features(self, pixel_values, pixel_attention_mask=None, **kwargs):
            return pixel_values.sum() + pixel_attention_mask.sum()

    model = Tiled()
    cache = VisionFeatureCache(model, max_bytes=2**30)
    assert model.get_image_features(torch.ones(2, 3), torch.ones(2)) == 8
    assert cache.encoded == 0


def test_a_second_adapter_is_never_dropped_silently(tmp_path, qwen):
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    for folder, base in ((inner, qwen.source), (outer, str(inner))):
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
        (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(LriadError, match="has an adapter too"):
        load_policy(str(outer))
    with pytest.raises(LriadError, match="adapter of its own"):
        load_policy(str(inner), adapter=str(outer))


def test_run_is_loaded_with_the_pixels_it_was_trained_with(tmp_path, qwen):
    from peft import LoraConfig, get_peft_model

    base = load_policy(qwen.source, device="cpu")
    get_peft_model(base.model, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(
        tmp_path / "adapter"
    )
    (tmp_path / "config.yaml").write_text(f"policy: {qwen.source}\nmax_pixels: 6272\n")
    assert load_policy(str(tmp_path), device="cpu").processor.image_processor.size["longest_edge"] == 6272


def with_point(folder, tmp_path, content):
    copy = tmp_path / "policy"
    shutil.copytree(folder, copy)
    (copy / "operating_point.json").write_text(content)
    return copy


def test_an_operating_point_comes_with_the_weights_and_goes_with_an_adapter(policy, folder, tmp_path):
    from peft import LoraConfig, get_peft_model

    assert policy.operating_point == {}
    copy = with_point(folder, tmp_path, '{"fast": 0.25}')
    pointed = load_policy(str(copy), device="cpu", max_pixels=PIXELS)
    assert pointed.operating_point == {"fast": 0.25}
    exported = export_policy(str(copy), tmp_path / "exported")
    assert load_policy(str(exported), device="cpu").operating_point == {"fast": 0.25}
    adapted = get_peft_model(pointed.model, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    adapted.save_pretrained(tmp_path / "adapter")
    assert load_policy(str(copy), adapter=str(tmp_path / "adapter"), device="cpu").operating_point == {}


@pytest.mark.parametrize("content", ["", "[]", '{"fast": 1.5}', '{"fast": "x"}', '{"slow": 0.5}', '{"fast": NaN}', "{"])
def test_a_broken_operating_point_is_named(folder, tmp_path, content):
    with pytest.raises(LriadError, match=r"operating_point\.json: expected thresholds"):
        load_policy(str(with_point(folder, tmp_path, content)), device="cpu")
