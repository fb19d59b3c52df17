"""Memories of good parts, with a small policy on drawn images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_models import save_tiny_model

from lriad import Inspector, LriadError, Sample, load_memory, remember
from lriad.data.sample import Label
from lriad.data.views import Views
from lriad.memory.build import BANK, build
from lriad.memory.evidence import evidence_for
from lriad.memory.memory import Bank, GoodImage, Look, Memory, banks_of_views, centre_and_spread
from lriad.memory.patches import FIELDS, beyond_usual, coreset, image_deviation, in_fields, nearest, patches
from lriad.memory.rule import learn_rule
from lriad.memory.seen import Seen, see
from lriad.policy import load_policy

NAME = "metal plate"


def draw_part(rng: np.random.Generator, defect: bool = False, size: int = 128) -> Image.Image:
    """A grey plate with a light ring, the same but for noise, and with a dark blot where it is defective."""
    import cv2

    pixels = np.full((size, size, 3), 120, np.uint8)
    cv2.circle(pixels, (size // 2, size // 2), size // 3, (200, 200, 200), 6)
    if defect:
        cv2.rectangle(pixels, (size // 10, size // 10), (size // 3, size // 3), (10, 10, 10), -1)
    noise = rng.normal(0, 3, (size, size, 1))
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return load_policy(str(save_tiny_model("fast_vlm", tmp_path_factory.mktemp("tiny") / "model")), device="cpu")


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, list[Sample]]:
    """Twelve good parts, eight defective ones, on the disk."""
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    made: dict[str, list[Sample]] = {"normal": [], "defect": []}
    counts: tuple[tuple[Label, int], ...] = (("normal", 12), ("defect", 8))
    for label, count in counts:
        for index in range(count):
            file = folder / f"{label}{index}.png"
            draw_part(rng, label == "defect").save(file)
            made[label].append(Sample(file.name, str(file), label, "plate", NAME))
    return made


@pytest.fixture(scope="module")
def made(policy, parts, tmp_path_factory):
    return remember(parts["normal"][:8], tmp_path_factory.mktemp("memory") / "plate.memory", policy=policy)


@pytest.fixture(scope="module")
def with_labels(policy, parts, tmp_path_factory):
    file = tmp_path_factory.mktemp("memory") / "labels.memory"
    remember(parts["normal"][:8], file, policy=policy, defects=parts["defect"][:6])
    return file


def simple_memory(deviations: list[float], p: list[float] | None = None) -> Memory:
    good = tuple(
        GoodImage(str(i), str(i), str(i), deviation, {} if p is None else {"fast": p[i]})
        for i, deviation in enumerate(deviations)
    )
    bank = Bank(torch.zeros(len(good), 2), torch.arange(len(good)))
    look = Look(None, 1.0, 1.0)
    return Memory(
        "part",
        "0" * 64,
        None,
        (bank,),
        (1.0,),
        torch.zeros(len(good), 1, 2, 2),
        torch.zeros(len(good), 1, 2, 2, 2),
        good,
        look,
        Views(),
    )


# Patches


def test_what_is_usual_at_a_place_is_not_unusual_there():
    mean_FF, spread_FF = torch.full((FIELDS, FIELDS), 2.0), torch.full((FIELDS, FIELDS), 0.5)
    mean_FF[:, FIELDS // 2 :] = 6.0
    distance_HW = np.full((40, 60), 2.0, np.float32)
    distance_HW[:, 30:] = 6.0
    distance_HW[5, 3] = 3.5
    beyond = beyond_usual(distance_HW, mean_FF, spread_FF)
    away_from_the_edge = np.r_[0:27, 33:60]
    # Each spread is widened by twice their mean: 0.5 + 2 x 0.5.
    assert beyond[5, 3] == pytest.approx(1.5 / 1.5)
    beyond[5, 3] = 0.0
    assert np.abs(beyond[:, away_from_the_edge]).max() < 1e-5


def test_fields_are_means_whatever_the_size():
    ramp = np.tile(np.linspace(0, 1, 60, dtype=np.float32), (40, 1))
    for size in ((40, 60), (8, 12)):
        [fields] = in_fields(torch.from_numpy(ramp[:: 40 // size[0], :: 60 // size[1]].copy())[None])
        assert fields.shape == (FIELDS, FIELDS)
        assert (fields[:, 1:] - fields[:, :-1]).min() >= 0


def test_what_is_usual_in_others_is_measured_without_the_image_itself():
    rng = np.random.default_rng(0)
    images = []
    for index in range(9):
        views = [[torch.from_numpy(rng.normal(size=(6, 8, 8)).astype(np.float32)) for _ in range(3)] for _ in range(3)]
        images.append(Seen(Sample("", "", "normal", "part", NAME), str(index), str(index), Look(None, 1, 1), views))
    images = [replace(image, sample=replace(image.sample, group=str(i // 2))) for i, image in enumerate(images)]
    look = Look(None, 1.0, 1.0, (2, 1), True)
    memory = build(images, object_name="part", policy_sha256="", look=look, views=Views())
    groups = np.array([image.group for image in images])
    for index, image in enumerate(images):
        for view in range(3):  # the whole and two tiles
            bank = banks_of_views(memory.banks, look)[view]
            owners = groups[bank.owner_K.numpy()]
            stray = []
            for other in images:
                if other.group != image.group:
                    vectors = patches(other.depths[view], memory.scales).half().float()
                    barred = torch.from_numpy(np.isin(owners, [other.group, image.group]))
                    distances = nearest(vectors.flatten(0, 1), bank.places_KC, bank.half_norms_K, barred)
                    stray.append(in_fields(distances.unflatten(0, (8, 8))[None])[0])
            mean, spread = memory.others_NV2FF[index, view]
            torch.testing.assert_close(mean, torch.stack(stray).mean(0), atol=2e-3, rtol=0)
            torch.testing.assert_close(spread, torch.stack(stray).std(0), atol=4e-3, rtol=0)


@pytest.mark.parametrize("tiles", [1, 2])
def test_a_good_image_strays_as_far_as_without_its_own_group(policy, parts, tmp_path, tiles):
    pairs = [replace(sample, group=f"part {index // 2}") for index, sample in enumerate(parts["normal"][:8])]
    views = Views(tiles=tiles)
    memory = remember(pairs, tmp_path / "m", policy=policy, views=views).memory
    for image, known in zip(see(policy, pairs, views, memory), memory.good, strict=True):
        assert image.group == known.group
        maps = [memory.unusual(view, index, image.group) for index, view in enumerate(image.depths)]
        deviation = image_deviation(np.concatenate([one.ravel() for one in maps]))
        assert deviation == pytest.approx(known.deviation, abs=0.01)
        # The own group left in, nothing of it would be unusual.
        own = [memory.unusual(view, index) for index, view in enumerate(image.depths)]
        assert image_deviation(np.concatenate([one.ravel() for one in own])) < deviation


def test_patches_bring_every_depth_to_the_first_ones_places_and_weigh_them_alike():
    depths = [torch.ones(4, 6, 8), 2 * torch.ones(9, 3, 4)]
    vectors = patches(depths, (1.0, 2.0))
    assert vectors.shape == (6, 8, 13)
    squared = vectors.square()
    assert torch.allclose(squared[..., :4].sum(-1), squared[..., 4:].sum(-1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_the_nearest_vector_is_found_as_by_all_distances(seed):
    rng = torch.Generator().manual_seed(seed)
    places, bank = torch.randn(7, 5, generator=rng), torch.randn(9, 5, generator=rng)
    barred = torch.zeros(9, dtype=torch.bool)
    barred[seed % 9] = True
    half_norms = bank.square().sum(1) / 2
    distances = torch.cdist(places, bank)
    assert torch.allclose(nearest(places, bank, half_norms), distances.amin(1), atol=1e-3)
    distances[:, seed % 9] = torch.inf
    assert torch.allclose(nearest(places, bank, half_norms, barred), distances.amin(1), atol=1e-3)


def test_a_coreset_has_a_point_of_every_heap_and_none_twice():
    heaps = torch.randn(20, 8) * 10
    points = heaps.repeat_interleave(50, 0) + 0.01 * torch.randn(1000, 8)
    chosen = coreset(points, 20)
    assert len(set(chosen.tolist())) == 20
    assert {index // 50 for index in chosen.tolist()} == set(range(20))


def test_an_images_deviation_is_that_of_its_few_farthest_places_and_knows_nothing_of_what_was_not_looked_at():
    distances = np.full((4, 5), 1.0, np.float32)
    distances[0] = [2, 3, 4, 5, 6]
    distances[3, 3] = np.nan
    assert image_deviation(distances) == pytest.approx(4.0)


# What deviations mean


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.integers(0, 10_000))
def test_a_false_alarm_rate_is_kept_on_average(count, seed):
    # Exchangeable good images: the rate falls to k / (n + 1) or below in that share of the draws, whatever their scale.
    rng = np.random.default_rng(seed)
    others = rng.lognormal(size=(400, count + 1))
    odds = rng.normal(size=others.shape) + rng.normal(size=(len(others), 1))
    p = 1 / (1 + np.exp(-odds))
    rates = []
    for deviations, own in zip(others, p, strict=True):
        memory = simple_memory(list(deviations[:-1]), list(own[:-1]))
        z = memory.judge(np.full((3, 3), deviations[-1], np.float32)).z
        rates.append(memory.rank(own[-1], z, "fast").alarm_rate)
    assert min(rates) >= 1 / (count + 1) - 1e-9
    for rank in {1, 2, 1 + count // 4, count}:
        level = rank / (count + 1)
        luck = 4 * (level * (1 - level) / len(rates)) ** 0.5
        assert np.mean(np.array(rates) <= level + 1e-9) == pytest.approx(level, abs=luck + 1e-9)


@pytest.mark.parametrize("draw", ["normal", "lognormal", "exponential", "uniform", "standard_t"])
@pytest.mark.parametrize("count", [20, 30, 50])
def test_between_two_ranks_the_rate_is_interpolated_and_kept_too(count, draw):
    from lriad.memory.memory import _ranked

    rng = np.random.default_rng(count)
    shape = (4000, count + 1)
    numbers = rng.standard_t(3, shape) if draw == "standard_t" else getattr(rng, draw)(size=shape)
    rates = np.array([_ranked(0.0, row).alarm_rate for row in numbers])
    kept, luck = float(np.mean(rates <= 0.05)), 3 * (0.05 * 0.95 / len(rates)) ** 0.5
    whole = np.floor(0.05 * (count + 1)) / (count + 1)  # what ranks alone would use of it
    assert whole - luck <= kept <= 0.05 + luck


@pytest.mark.parametrize("count", [20, 30])
def test_of_numbers_in_two_heaps_the_rate_is_kept_up_to_one_rank(count):
    from lriad.memory.memory import _ranked

    rng = np.random.default_rng(count)
    numbers = rng.normal(size=(4000, count + 1)) + 100 * (rng.random((4000, count + 1)) < 0.05)
    kept = np.mean([_ranked(0.0, row).alarm_rate <= 0.05 for row in numbers])
    assert kept <= (np.floor(0.05 * (count + 1)) + 1) / (count + 1)


def test_the_rate_between_two_good_samples_is_between_theirs():
    from lriad.memory.memory import _ranked

    good = [1.0, 2.0, 4.0]
    rates = {own: _ranked(0.0, np.array([*good, own])).alarm_rate for own in (5.0, 4.0, 3.0, 2.0, 1.0, 0.5)}
    assert rates == pytest.approx({5.0: 0.25, 4.0: 0.25, 3.0: 0.375, 2.0: 0.5, 1.0: 0.75, 0.5: 1.0})


def test_a_few_good_samples_that_agree_by_chance_do_not_make_everything_odd():
    _, spread = centre_and_spread(np.array([1.0, 1.0]), 0.02)
    assert spread == 0.02


def test_the_rank_adds_what_the_policy_and_the_memory_say_each_on_the_good_samples_scale():
    memory = simple_memory([1.0, 1.1, 1.2, 1.3], [0.1, 0.2, 0.3, 0.4])
    usual = memory.rank(0.25, 0.0, "fast")
    assert abs(usual.score) < 0.5
    assert memory.rank(0.9, 0.0, "fast").score > usual.score
    assert memory.rank(0.25, 3.0, "fast").score == pytest.approx(usual.score + 3.0)
    assert memory.rank(0.9, 3.0, "fast").alarm_rate == pytest.approx(1 / 5)
    # A policy that calls these good samples defective counts for little.
    confused = simple_memory([1.0, 1.1, 1.2, 1.3], [0.01, 0.9, 0.5, 0.99])
    assert confused.rank(0.9, 0.0, "fast").score < memory.rank(0.9, 0.0, "fast").score


def test_where_the_policy_was_not_asked_the_deviation_alone_counts():
    memory = simple_memory([1.0, 1.1, 1.2], [0.1, 0.2, 0.3])
    assert memory.rank(None, 2.0, "fast").score == 2.0
    assert memory.rank(0.9, 2.0, "reason").score == 2.0


# Remembering


def test_defects_deviate_more_than_good_parts_and_where_they_are(policy, parts, made):
    inspector = Inspector(policy, mode="fast", memory=made.memory)
    found = {
        label: [inspector.inspect(sample.image, NAME) for sample in parts[label]] for label in ("normal", "defect")
    }
    unseen, defects = found["normal"][8:], found["defect"]
    assert max(one.deviation for one in unseen) < min(one.deviation for one in defects)
    # Of random weights: the place is nearly always right.
    assert sum(one.unusual_place == "upper left" for one in defects) >= 6
    assert all(one.decision == "defect" and one.alarm_rate == pytest.approx(1 / 9) for one in defects)
    for one in (*unseen, *defects):
        assert (one.decided_by, one.limit) == ("alarm_rate", pytest.approx(made.memory.promised_rate))
        assert one.decision == ("defect" if one.alarm_rate <= one.limit else "normal")
    one = defects[0]
    assert one.memory == made.memory.sha256
    assert one.setting == "8 good"
    assert one.prompt_version.endswith("+context-2")
    assert one.heatmap is not None
    assert "heatmap" not in one.to_dict()
    json.dumps(one.to_dict())


def test_without_a_memory_everything_is_as_before(policy, parts):
    one = Inspector(policy, mode="fast").inspect(parts["defect"][0].image, NAME)
    assert (one.memory, one.score, one.deviation, one.alarm_rate, one.heatmap) == (None,) * 5
    assert one.setting == "zero-shot"
    assert one.prompt_version == "lr-iad-1"


def test_a_batch_gives_what_single_images_give(policy, parts, made):
    samples = [*parts["normal"][8:], *parts["defect"]]
    rows = list(Inspector(policy, mode="fast", memory=made.memory, batch_size=5).inspect_samples(samples))
    for sample, row in zip(samples, rows, strict=True):
        one = Inspector(policy, mode="fast", memory=made.memory).inspect(sample.image, NAME)
        assert row["p_defect"] == pytest.approx(one.p_defect, abs=1e-4)
        # Rounding in another order, magnified: deviations are in spreads of a few percent.
        assert row["deviation"] == pytest.approx(one.deviation, rel=5e-3, abs=1e-3)
        assert row["decision"] == one.decision


def test_an_image_in_memory_is_compared_with_the_others_only(policy, parts, made):
    sample = parts["normal"][0]
    one = Inspector(policy, mode="fast", memory=made.memory).inspect(sample.image, NAME)
    kept = next(image for image in made.memory.good if image.sha256 == one.image_sha256)
    in_memory = Inspector(policy, mode="fast", memory=made.memory).inspect(Image.open(sample.image), NAME)
    assert in_memory.deviation == pytest.approx(one.deviation, rel=5e-3)  # known by its pixels
    others = np.array([image.deviation for image in made.memory.good if image is not kept])
    mean, spread = centre_and_spread(others, 0.02 * float(others.mean()))
    assert one.deviation == pytest.approx((kept.deviation - mean) / spread, abs=0.2)
    assert kept.deviation > 0  # its own places would be at no distance


def test_images_of_one_group_are_not_compared_with_one_another(policy, parts, tmp_path):
    twins = [replace(sample, group=f"g{index // 2}") for index, sample in enumerate(parts["normal"][:8])]
    memory = remember(twins, tmp_path / "twins.memory", policy=policy).memory
    assert len({image.group for image in memory.good}) == 4
    group = memory.good[0].group
    assert len(memory.others(group)) == 6


def test_a_file_gives_the_memory_back(made, tmp_path):
    made.memory.save(tmp_path / "m")
    again = load_memory(tmp_path / "m")
    assert again.sha256 == made.memory.sha256
    assert again.good == made.memory.good
    assert again.look == made.memory.look
    assert torch.equal(again.banks[0].places_KC, made.memory.banks[0].places_KC)
    assert torch.equal(again.usual_NVFF, made.memory.usual_NVFF)
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_the_file_is_as_open_to_others_as_any_other(made, tmp_path):
    made.memory.save(tmp_path / "m")
    (tmp_path / "plain").touch()
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_products_name_in_capitals_asks_the_same(policy, parts, made):
    inspector = Inspector(policy, mode="fast", memory=made.memory)
    one, other = (inspector.inspect(parts["defect"][0].image, name) for name in (NAME, NAME.upper()))
    assert replace(one, seconds=0.0) == replace(other, seconds=0.0)


def test_more_good_images_are_added_later(policy, parts, made, tmp_path):
    file = tmp_path / "old"
    made.memory.save(file)
    before = file.read_bytes()
    more = remember(parts["normal"], tmp_path / "new", policy=policy, add_to=file)
    assert len(more.memory.good) == 12
    assert more.memory.good[:8] == made.memory.good
    assert any("in the memory already" in line for line in more.warnings)
    assert file.read_bytes() == before
    one = Inspector(policy, mode="fast", memory=more.memory).inspect(parts["defect"][0].image, NAME)
    assert one.decision == "defect"


def test_labels_make_a_rule_whose_outcome_is_a_probability(policy, parts, tmp_path):
    file = tmp_path / "m"
    memory = remember(parts["normal"][:8], file, policy=policy, defects=parts["defect"][:6]).memory
    assert memory.setting == "8 good + 6 labelled defects"
    assert memory.rule is not None
    assert set(memory.rule.stacks) == {"fast", "reason"}
    inspector = Inspector(policy, mode="fast", memory=file)
    good = [inspector.inspect(sample.image, NAME) for sample in parts["normal"][8:]]
    bad = [inspector.inspect(sample.image, NAME) for sample in parts["defect"][6:]]
    assert all(0 <= one.score <= 1 for one in [*good, *bad])
    assert all((one.decided_by, one.limit) == ("score", 0.5) for one in [*good, *bad])
    assert max(one.score for one in good) < min(one.score for one in bad)


def test_a_rule_is_the_machine_and_the_regression_that_it_was_learned_as():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rng = np.random.default_rng(0)
    defect_N = np.arange(60) % 2 == 1
    features_NF = 3 + 2 * rng.normal(size=(60, 20)).astype(np.float32) + defect_N[:, None]
    odds_N, z_N = rng.normal(size=60) + defect_N, rng.normal(size=60) + 2 * defect_N
    rule = learn_rule(features_NF, {"fast": odds_N}, {"fast": z_N}, defect_N, [str(index) for index in range(60)])
    new_NF = 3 + 2 * rng.normal(size=(40, 20)).astype(np.float32)
    machine = make_pipeline(StandardScaler(), SVC(C=10.0, class_weight="balanced")).fit(features_NF, defect_N)
    weights = np.array(rule.stacks["fast"])
    columns = np.stack([machine.decision_function(new_NF), np.full(40, -1.0), np.full(40, np.arcsinh(2.0))], 1)
    expected = 1 / (1 + np.exp(-(columns @ weights[:3] + weights[3])))
    said = [rule.probability(features, 1 / (1 + np.e), 2.0, "fast") for features in new_NF]
    np.testing.assert_allclose(said, expected, atol=1e-4)


def test_a_rule_tells_the_labels_apart_and_more_deviation_is_never_less_suspect():
    rng = np.random.default_rng(0)
    defect_N = np.arange(60) % 2 == 1
    features_NF = rng.normal(size=(60, 20)).astype(np.float32) + defect_N[:, None]
    odds_N, z_N = rng.normal(size=60) + defect_N, rng.normal(size=60) + 2 * defect_N
    rule = learn_rule(features_NF, {"fast": odds_N}, {"fast": z_N}, defect_N, [str(index) for index in range(60)])
    said_N = np.array(
        [rule.probability(f, 1 / (1 + np.exp(-o)), z, "fast") for f, o, z in zip(features_NF, odds_N, z_N, strict=True)]
    )
    assert ((said_N >= 0.5) == defect_N).mean() > 0.95
    rising = [rule.probability(features_NF[0], 0.5, z, "fast") for z in (-3.0, 0.0, 3.0, 30.0)]
    assert rising == sorted(rising)


def test_a_rule_survives_the_file(policy, parts, tmp_path):
    memory = remember(parts["normal"][:8], tmp_path / "m", policy=policy, defects=parts["defect"][:6]).memory
    again = load_memory(tmp_path / "m")
    assert again.sha256 == memory.sha256
    features = memory.rule.centre_F + memory.rule.scale_F
    assert again.rule.probability(features, 0.3, 1.0, "reason") == memory.rule.probability(features, 0.3, 1.0, "reason")
    assert "make the memory again" in error_of(again.rule.probability, features[1:], 0.3, 1.0, "reason")


def test_training_gets_the_evidence_and_own_groups_do_not_count(policy, parts, made):
    samples = [*parts["normal"][:2], parts["defect"][0]]
    lines = evidence_for(made.memory, policy, samples)
    assert "Compared with 7 good samples" in lines[samples[0].image]
    assert "Compared with 8 good samples" in lines[samples[2].image]


# Views


def test_tiles_and_a_region_speak_of_the_whole_image(policy, tmp_path):
    rng = np.random.default_rng(1)
    samples = []
    for index in range(6):
        file = tmp_path / f"{index}.png"
        draw_part(rng, size=256).save(file)
        samples.append(Sample(file.name, str(file), "normal", "plate", NAME))
    draw_part(rng, defect=True, size=256).save(tmp_path / "bad.png")
    memory = remember(samples, tmp_path / "m", policy=policy, views=Views((0, 0, 256, 200), 2)).memory
    one = Inspector(policy, mode="fast", memory=memory).inspect(tmp_path / "bad.png", NAME)
    assert one.decision == "defect"
    assert one.unusual_place in ("upper left", "left", "top")  # Of random weights, and on the border of these fields.
    assert np.isnan(one.heatmap[-1]).all()  # below the region
    assert memory.look.scales == [range(1), range(1, 5)]
    assert one.view is not None  # the region, or a tile of it: not the whole image
    with pytest.raises(LriadError, match="give no other --roi"):
        list(Inspector(policy, memory=memory, views=Views(None, 3)).inspect_samples(samples))


def test_the_whole_and_the_tiles_are_compared_each_with_their_own(policy, parts, tmp_path):
    """What is remembered of tiles, larger in the eyes, says nothing of the whole, and the other way about."""
    views, good = Views(tiles=2), parts["normal"][:10]
    first = remember(good[:8], tmp_path / "m", policy=policy, views=views).memory
    more = remember(good[8:], tmp_path / "more", policy=policy, add_to=tmp_path / "m").memory
    loaded = load_memory(tmp_path / "more")
    assert all(torch.equal(*pair) for pair in zip(loaded._tensors().values(), more._tensors().values(), strict=True))
    images = see(policy, good, views)
    for memory, count in ((first, 8), (more, 10)):
        for bank, own in zip(memory.banks, memory.look.scales, strict=True):
            assert len(bank.owner_K) <= BANK // 2
            assert set(bank.owner_K.tolist()) == set(range(count))
            known = [
                torch.cat([patches(image.depths[view], memory.scales).flatten(0, 1) for view in own])
                for image in images
            ]
            for place, owner in zip(bank.places_KC[::50], bank.owner_K[::50].tolist(), strict=True):
                assert (known[owner] - place).abs().amax(1).min() < 0.02
    [image] = see(policy, [parts["defect"][0]], views, first)
    far = replace(first.banks[1], places_KC=torch.full_like(first.banks[1].places_KC, 1e3))
    without_tiles = replace(first, banks=(first.banks[0], far))
    for view, maps in enumerate(image.depths):
        before, after = first.unusual(maps, view), without_tiles.unusual(maps, view)
        assert (before == after).all() if view == 0 else after.min() > 10 * np.abs(before).max()


@pytest.mark.parametrize("size", [(420, 2), (500, 100), (330, 100)])
def test_very_long_images_are_looked_at_in_tiles_alone(policy, tmp_path, size):
    files = [tmp_path / f"{index}.png" for index in range(3)]
    for file in files:
        Image.effect_noise(size, 40).convert("RGB").save(file)
    good = [Sample(file.name, str(file), "normal", "strip", NAME) for file in files]
    memory = remember(good, tmp_path / "m", policy=policy, views=Views(tiles=4)).memory
    has_whole = size[0] <= 4 * size[1]
    assert len(memory.banks) == len(load_memory(tmp_path / "m").banks) == 1 + has_whole
    if size == (330, 100):  # in as many tiles, and not whole
        other = tmp_path / "longer.png"
        Image.effect_noise((420, 100), 40).convert("RGB").save(other)
        memory = replace(memory, look=replace(memory.look, narrowest=3.0, widest=5.0))
        assert "and the whole" in error_of(Inspector(policy, mode="fast", memory=memory).inspect, other, NAME)


def test_tiles_of_several_images_that_cores_share_give_what_each_image_gives(policy, tmp_path):
    rng = np.random.default_rng(2)
    samples = []
    for index in range(7):
        file = tmp_path / f"{index}.png"
        draw_part(rng, defect=index == 6, size=256).save(file)
        samples.append(Sample(file.name, str(file), "normal", "plate", NAME))
    memory = remember(samples[:5], tmp_path / "m", policy=policy, views=Views(tiles=2)).memory
    asked = samples[4:]  # one in memory, a good and a bad one
    threads = torch.get_num_threads()
    inspector = Inspector(policy, mode="fast", memory=memory)
    try:
        torch.set_num_threads(1)
        alone = [inspector.inspect(sample.image, NAME) for sample in asked]
        torch.set_num_threads(2)
        parts = [inspector.prepare(sample.image, NAME) for sample in asked]
        together = inspector.judge(parts, len(parts))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, together, strict=True):
        assert (one.view, one.decision) == (other.view, other.decision)
        assert one.p_defect == pytest.approx(other.p_defect, abs=1e-4)
        assert one.deviation == pytest.approx(other.deviation, rel=5e-3, abs=1e-3)
        np.testing.assert_allclose(one.heatmap, other.heatmap, rtol=1e-2, atol=1e-2)


# Bad input


def error_of(call, *arguments, **settings) -> str:
    with pytest.raises(LriadError) as caught:
        call(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_memory_of_nothing_of_one_or_of_what_cannot_be_read_is_refused_and_nothing_is_overwritten(
    policy, parts, tmp_path
):
    file = tmp_path / "m"
    file.write_text("precious")
    assert "no images" in error_of(remember, [], file, policy=policy)
    assert "needs two" in error_of(remember, parts["normal"][:1], file, policy=policy)
    assert "needs two" in error_of(remember, parts["normal"][:1] * 3, file, policy=policy)
    group = [replace(sample, group="one") for sample in parts["normal"][:4]]
    assert "of one group" in error_of(remember, group, file, policy=policy)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    broken = Sample("b", str(tmp_path / "broken.png"), "normal", "plate", NAME)
    found = error_of(remember, [*parts["normal"][:3], broken], file, policy=policy)
    assert "1 of 4 images" in found
    assert "labelled a defect" in error_of(remember, parts["defect"], file, policy=policy)
    assert "broken.png" in found
    others = replace(parts["normal"][1], object_name="gear")
    assert "one product" in error_of(remember, [parts["normal"][0], others], file, policy=policy)
    both = error_of(remember, parts["normal"][:6], file, policy=policy, defects=parts["normal"][:6])
    assert "which is it" in both
    few = error_of(remember, parts["normal"][:6], file, policy=policy, defects=parts["defect"][:2])
    assert "2 defects" in few
    assert file.read_text() == "precious"


def test_too_few_and_odd_good_images_are_named(policy, parts, tmp_path):
    hidden = replace(parts["defect"][0], label="normal")
    found = remember([*parts["normal"], hidden], tmp_path / "m", policy=policy).warnings
    assert any(Path(parts["defect"][0].image).name in line and "is it good?" in line for line in found)
    few = remember(parts["normal"][:4], tmp_path / "m", policy=policy).warnings
    assert any("1 in 5" in line for line in few)


def test_two_products_in_one_memory_are_suspected(policy, parts, tmp_path):
    rng = np.random.default_rng(3)
    others = []
    for index in range(10):
        file = tmp_path / f"{index}.png"
        Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(file)
        others.append(Sample(file.name, str(file), "normal", "plate", NAME))
    found = remember([*parts["normal"], *others], tmp_path / "m", policy=policy).warnings
    assert any("two heaps" in line for line in found)
    assert any("grey" in line for line in found)
    alone = remember(parts["normal"], tmp_path / "m", policy=policy).warnings
    assert not any("two heaps" in line for line in alone)


def test_images_of_another_shape_colour_or_product_are_refused_one_by_one(policy, parts, made, tmp_path):
    inspector = Inspector(policy, mode="fast", memory=made.memory)
    Image.new("RGB", (200, 100), (90, 90, 90)).save(tmp_path / "wide.png")
    assert "another shape" in error_of(inspector.inspect, tmp_path / "wide.png", NAME)
    Image.new("RGB", (128, 128), (200, 40, 40)).save(tmp_path / "red.png")
    assert "in colour" in error_of(inspector.inspect, tmp_path / "red.png", NAME)
    assert "not of a 'gear'" in error_of(inspector.inspect, parts["normal"][0].image, "gear")
    bad = Sample("wide", str(tmp_path / "wide.png"), "unknown", "plate", NAME)
    rows = list(inspector.inspect_samples([bad, parts["normal"][0]]))
    assert "wide.png" in rows[0]["error"]
    assert rows[1]["decision"] == "normal"


def test_damaged_and_foreign_files_are_refused(made, tmp_path, tiny_policy_dir):
    assert "no such memory" in error_of(load_memory, tmp_path / "none")
    assert "folder" in error_of(load_memory, tmp_path)
    made.memory.save(tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for end in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:end])
        assert "cut" in error_of(load_memory, tmp_path / "cut")
    weights = next(tiny_policy_dir.glob("*.safetensors"))
    assert "no memory" in error_of(load_memory, weights)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, header: tensors["usual"].fill_(float("nan")),
        lambda tensors, header: tensors["usual"].fill_(-1),
        lambda tensors, header: tensors["others"].fill_(float("nan")),
        lambda tensors, header: tensors.update(others=tensors["others"][:, :, :1]),
        lambda tensors, header: tensors.update(usual=tensors["usual"][:, :0]),
        lambda tensors, header: tensors.update(usual=tensors["usual"][..., :3]),
        lambda tensors, header: tensors["bank.0"].fill_(float("inf")),
        lambda tensors, header: tensors["owner.0"].fill_(-1),
        lambda tensors, header: tensors["owner.0"].fill_(99),
        lambda tensors, header: tensors.pop("owner.0"),
        lambda tensors, header: header["look"].update(layout=[2, 1]),
        lambda tensors, header: header["look"].update(layout=[]),
        lambda tensors, header: header["look"].update(layout=[1]),
        lambda tensors, header: header["look"].update(layout=[1, 1, 1]),
        lambda tensors, header: header["look"].update(has_whole=True),
        lambda tensors, header: tensors.update({"owner.0": tensors["owner.0"][:-1]}),
        lambda tensors, header: header.update(scales=[0.0, 0.0]),
        lambda tensors, header: header["good"][0].update(deviation=float("nan")),
        lambda tensors, header: header["good"][0].update(deviation="high"),
        lambda tensors, header: [image.update(group="one") for image in header["good"]],
        lambda tensors, header: tensors["rule.centre_F"].fill_(float("nan")),
        lambda tensors, header: tensors["rule.scale_F"].fill_(0),
        lambda tensors, header: tensors.update({"rule.dual_S": tensors["rule.dual_S"][None].contiguous()}),
        lambda tensors, header: tensors.pop("rule.supports_SF"),
        lambda tensors, header: header["rule"]["stacks"].pop("reason"),
        lambda tensors, header: header["rule"]["stacks"].update(fast=[1.0]),
        lambda tensors, header: header["rule"].update(gamma="much"),
        lambda tensors, header: header["look"].pop("layout"),
    ],
)
def test_a_memory_whose_numbers_are_none_is_refused(with_labels, tmp_path, change):
    with safe_open(with_labels, "pt") as opened:
        metadata, tensors = opened.metadata(), {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    header = json.loads(metadata["memory"])
    change(tensors, header)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, tmp_path / "m", metadata | {"memory": json.dumps(header)})
    found = error_of(load_memory, tmp_path / "m")
    assert "damaged" in found
    assert "\n" not in found


def test_images_that_are_cut_in_other_tiles_are_not_compared(policy, tmp_path):
    def picture(name: str, size: tuple[int, int]) -> Sample:
        Image.effect_noise(size, 40).convert("RGB").save(tmp_path / name)
        return Sample(name, str(tmp_path / name), "normal", "plate", NAME)

    good = [picture(f"{index}.png", (160, 120)) for index in range(3)]
    views = Views(tiles=4)
    memory = remember(good, tmp_path / "m", policy=policy, views=views).memory
    assert memory.look.layout == (4, 3)
    near = picture("near.png", (160, 121))
    Inspector(policy, mode="fast", memory=memory).inspect(near.image, NAME)
    other = picture("other.png", (160, 130))
    found = error_of(Inspector(policy, mode="fast", memory=memory).inspect, other.image, NAME)
    assert "4 x 4 tiles" in found
    assert "4 x 4 tiles" in error_of(remember, [other], tmp_path / "n", policy=policy, add_to=tmp_path / "m")
    assert "tiles" in error_of(remember, [*good, other], tmp_path / "n", policy=policy, views=views)


def test_defects_of_one_group_make_no_rule(policy, parts, tmp_path):
    defects = [replace(sample, group="series") for sample in parts["defect"][:6]]
    found = error_of(remember, parts["normal"][:8], tmp_path / "m", policy=policy, defects=defects)
    assert "one group" in found
    assert not (tmp_path / "m").exists()


def test_a_memory_of_another_policy_is_refused(made, parts, tiny_policy_dir):
    other = Inspector(str(tiny_policy_dir), mode="fast", memory=made.memory)
    assert "another policy" in error_of(other.inspect, parts["normal"][0].image, NAME)
    with pytest.raises(LriadError, match="another policy"):
        list(other.inspect_samples(parts["normal"]))


def test_a_memory_and_references_do_not_go_together(policy, parts, made):
    found = error_of(Inspector, policy, memory=made.memory, references=[parts["normal"][0].image])
    assert "one of them" in found
    shown = Inspector(policy, mode="fast", references=[parts["normal"][0].image])
    assert "lriad remember" in error_of(shown.inspect, parts["normal"][1].image, NAME)


def test_a_server_has_no_eyes_to_remember_with(parts, tmp_path):
    assert "server" in error_of(remember, parts["normal"], tmp_path / "m", policy="http://127.0.0.1:9/v1#m")


def test_a_calibration_made_with_a_memory_decides_by_its_score(policy, parts, made):
    from lriad.calibration import calibrate

    samples = [*parts["normal"][8:], *parts["defect"]]
    rows = list(Inspector(policy, mode="fast", memory=made.memory).inspect_samples(samples))
    calibration = calibrate(rows, max_miss_rate=0.5, confidence=0.9)
    assert calibration.quantity == "score"
    inspector = Inspector(policy, mode="fast", memory=made.memory, calibration=calibration)
    for sample, row in zip(samples, rows, strict=True):
        one = inspector.inspect(sample.image, NAME)
        # The limit is the score of one of them, which a single image need not meet to the last bit: the score counts
        # what is rounded in p_defect in spreads of the good parts, and is exactly this of what was said of each.
        assert one.p_defect == pytest.approx(row["p_defect"], abs=1e-4)
        assert one.score == made.memory.rank(one.p_defect, one.deviation, "fast").score
        assert row["score"] == made.memory.rank(row["p_defect"], row["deviation"], "fast").score
        assert one.decision == calibration.decide(row["label"], one.score)
        assert one.calibration == calibration.sha256
        assert one.threshold is None  # which is one on p_defect
    with pytest.raises(LriadError, match="memory"):
        Inspector(policy, mode="fast", calibration=calibration).inspect(samples[0].image, NAME)
