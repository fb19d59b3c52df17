"""The procedural families: what they promise about labels, masks, repeatability and the folder they write."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.data.place import place_of
from lriad.data.sample import Sample
from lriad.data.synthetic import (
    FAMILIES,
    defect_kinds,
    describe,
    make_dataset,
    narrate,
    render,
    rendering,
)
from lriad.data.synthetic.canvas import Canvas, Component
from lriad.data.synthetic.dataset import make_line
from lriad.data.synthetic.defects import LOGICAL, SURFACE
from lriad.data.synthetic.nuisances import clutter, imprint, scuffs, seam
from lriad.errors import LriadError

CATEGORIES = [name for family in FAMILIES.values() for name in family.categories]
SPOILT = [(name, kind) for name in CATEGORIES for kind in defect_kinds(name)]


def test_families_share_no_category_and_no_drawing():
    assert list(FAMILIES) == ["parts", "objects", "textures"]
    for a, b in itertools.combinations(FAMILIES.values(), 2):
        assert not set(a.categories) & set(b.categories)
        assert not {c.draw for c in a.categories.values()} & {c.draw for c in b.categories.values()}
    assert len(FAMILIES["parts"].categories) >= 30
    assert FAMILIES["objects"].defect_ratio == 0.111
    assert FAMILIES["textures"].defect_ratio == 0.235


def test_kinds_are_drawn_and_logical_ones_need_components():
    kinds = {kind for _, kind in SPOILT}
    assert kinds == {*SURFACE, *LOGICAL, "misprint"}
    assert len(kinds) >= 17
    assert {"turned", "swapped", "miscount"} < set(defect_kinds("packed_box"))
    for family in FAMILIES.values():
        for category in family.categories.values():
            assert category.components == bool(set(category.kinds) & set(LOGICAL))


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_sound_part_has_no_mask(category):
    sound = render(category, 5, 1, size=160)
    assert sound.image.shape == (160, 160, 3)
    assert sound.image.dtype == np.uint8
    assert not sound.mask.any()
    assert (sound.defect_type, sound.place) == (None, None)
    assert sound.image.std() > 3


@pytest.mark.parametrize(("category", "kind"), SPOILT)
def test_every_defect_shows_where_its_mask_says(category, kind):
    bad = render(category, 3, 1, kind)
    assert bad.mask.shape == (320, 320)
    assert bad.mask.dtype == bool
    assert 0.001 <= bad.mask.mean() <= 0.15
    assert (bad.defect_type, bad.place) == (kind, place_of(bad.mask))
    if category not in FAMILIES["parts"].categories:  # Elsewhere the camera of the sound twin may look elsewhere.
        change = np.abs(bad.image.astype(int) - render(category, 3, 1).image).mean(2)
        around = cv2.dilate(bad.mask.astype(np.uint8), np.ones((9, 9))) > 0
        assert change[bad.mask].mean() >= 12
        assert change[bad.mask].mean() > 3 * change[~around].mean()


# What is changed


def _bare(category: str, seed: int) -> Canvas:
    return FAMILIES["parts"].categories[category].draw(np.random.default_rng(seed), 64)


def _changed(kind: str, bare: Canvas, seed: int) -> list[Component]:
    return LOGICAL[kind](bare.components, bare.assembled(), np.random.default_rng(seed))


WITH = {kind: [c for c in FAMILIES["parts"].categories if kind in defect_kinds(c)] for kind in LOGICAL}


@pytest.mark.parametrize("category", WITH["swapped"])
def test_swapped_parts_change_their_looks_and_nothing_else(category):
    for seed in range(12):
        bare = _bare(category, seed)
        pairs = list(zip(bare.components, _changed("swapped", bare, seed), strict=True))
        different = [(old, new) for old, new in pairs if old != new]
        assert [(old.x, old.y, old.angle) for old, _ in pairs] == [(new.x, new.y, new.angle) for _, new in pairs]
        (old_a, new_a), (old_b, new_b) = different
        assert (new_a.draw, new_a.look) == (old_b.draw, old_b.look) != (old_a.draw, old_a.look)
        assert (new_b.draw, new_b.look) == (old_a.draw, old_a.look)


@pytest.mark.parametrize("category", WITH["turned"])
def test_a_turned_part_stays_in_its_place(category):
    for seed in range(12):
        bare = _bare(category, seed)
        pairs = zip(bare.components, _changed("turned", bare, seed), strict=True)
        ((old, new),) = [(old, new) for old, new in pairs if old != new]
        assert dataclasses.replace(new, angle=old.angle) == old
        assert 45 <= abs(new.angle - old.angle) <= 180


@pytest.mark.parametrize("category", WITH["miscount"])
def test_a_wrong_count_is_wrong_by_two_to_four(category):
    for seed in range(12):
        bare = _bare(category, seed)
        changed = _changed("miscount", bare, seed)
        assert 2 <= abs(len(changed) - len(bare.components)) <= 4
        assert set(changed) < set(bare.components) or set(bare.components) < set(changed)


def test_many_surface_defects_of_parts_are_small():
    pairs = [(c, k) for c in FAMILIES["parts"].categories for k in defect_kinds(c) if k in SURFACE]
    shares = [render(category, 11, 0, kind).mask.mean() for category, kind in pairs]
    assert 0.25 <= np.mean([0.0015 <= share <= 0.005 for share in shares]) <= 0.6


@pytest.mark.parametrize("category", ["keypad", "side_fastener"])
def test_a_sound_part_is_framed_around_a_defect_that_it_might_have_had(monkeypatch, category):
    framed, frame = [], rendering._any_rig

    def any_rig(direction, mask, rng):
        framed.append(mask)
        return frame(direction, mask, rng)

    monkeypatch.setattr(rendering, "_any_rig", any_rig)
    kinds = defect_kinds(category)
    around = []
    for seed in range(6):
        sound, *spoilt = (framed[-1] for kind in (None, *kinds) if render(category, seed, 0, kind, 64))
        around.append(next(kind for kind, mask in zip(kinds, spoilt, strict=True) if np.array_equal(sound, mask)))
    assert len(set(around)) > 1


@pytest.mark.parametrize("nuisance", [scuffs, seam, imprint, clutter])
def test_a_nuisance_changes_the_picture_but_not_the_part(nuisance):
    bare = _bare("machined_plate", 4)
    spared = bare.copy()
    nuisance(spared, np.random.default_rng(0))
    assert (spared.albedo != bare.albedo).any()
    assert np.array_equal(spared.part, bare.part)
    assert spared.components == bare.components


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(SPOILT), st.integers(0, 2**40), st.integers(0, 2**40))
def test_the_same_seeds_give_the_same_bytes_and_another_shot_the_same_part(spoilt, part_seed, shot_seed):
    category, kind = spoilt
    first, again = (render(category, part_seed, shot_seed, kind) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    other = render(category, part_seed, shot_seed + 1, kind)
    assert not np.array_equal(first.image, other.image)
    assert other.defect_type == kind
    # The same defect in almost the same place: framing moves it by a few pixels.
    centres = [np.argwhere(r.mask).mean(0) for r in (first, other)]
    assert np.abs(centres[0] - centres[1]).max() < 45


def test_another_part_looks_different():
    a, b = (render("machined_plate", seed) for seed in (1, 2))
    assert np.abs(a.image.astype(int) - b.image).mean() > 10


@pytest.mark.parametrize("size", [64, 200, 448])
def test_other_sizes_show_the_same_part(size):
    small, normal = (render("gear", 1, 0, "chip", size=s) for s in (size, 320))
    assert small.image.shape == (size, size, 3)
    assert small.mask.any()
    shrunk = (cv2.resize(r.image, (32, 32), interpolation=cv2.INTER_AREA).astype(int) for r in (small, normal))
    assert np.abs(np.subtract(*shrunk)).mean() < 30


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("hexnut", 0), "hex_nut"),
        (("hex_nut", 0, 0, "misprint"), "scratch"),
        (("hex_nut", 0, 0, None, 8), "64"),
        (("hex_nut", -1), "0 or more"),
    ],
)
def test_render_names_what_is_wrong(arguments, hint):
    with pytest.raises(LriadError, match=hint):
        render(*arguments)


# The folder


def _rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def test_one_camera_sees_every_shot_of_a_product():
    good, other = (render("keypad", 3, shot, framed="burn", size=128) for shot in (0, 1))
    spoilt = render("keypad", 3, 0, "stain", framed="burn", size=128)
    # Where the defect is not, nothing but it has changed; another shot moves everything a little.
    outside = ~cv2.dilate(spoilt.mask.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    changed = np.abs(spoilt.image.astype(int) - good.image).mean(2)
    assert np.median(changed[outside]) == 0
    assert np.abs(other.image.astype(int) - good.image).mean() > np.mean(changed[outside])
    with pytest.raises(LriadError, match="no defect"):
        render("keypad", 3, framed="thread")


def test_a_line_is_one_part_with_good_shots_and_visible_defects(tmp_path):
    made = make_line("jar_mouth", tmp_path / "line", part=4, good=3, defects=3)
    rows = [json.loads(line) for line in (made / "samples.jsonl").read_text().splitlines()]
    assert Counter(row["label"] for row in rows) == {"normal": 3, "defect": 3}
    assert {row["part_seed"] for row in rows} == {4}
    assert len({row["shot_seed"] for row in rows}) == 6
    for row in rows:
        assert (made / row["image"]).is_file()
        if row["mask"]:
            mask = cv2.imread(str(made / row["mask"]), cv2.IMREAD_GRAYSCALE)
            assert mask is not None
            assert mask.mean() / 255 >= 0.0009
    assert {row["dataset"] for row in rows} == {"parts"}
    other = make_line("gear", tmp_path / "other", part=1, good=1, defects=0)
    assert json.loads((other / "samples.jsonl").read_text())["dataset"] == "objects"
    before = (made / "samples.jsonl").stat().st_mtime_ns
    assert make_line("jar_mouth", tmp_path / "line", part=4, good=3, defects=3) == made
    assert (made / "samples.jsonl").stat().st_mtime_ns == before


def test_the_folder_holds_exactly_what_its_manifest_says(tmp_path):
    names = ["hex_nut", "blister_pack"]
    folder = make_dataset("objects", tmp_path / "a" / "set", images=21, defect_ratio=0.5, categories=names, size=96)
    rows = _rows(folder)
    fields = {f.name for f in dataclasses.fields(Sample)}
    samples = [Sample(**{k: v for k, v in row.items() if k in fields}) for row in rows]
    assert set(rows[0]) == fields | {"place", "part_seed", "shot_seed"}
    assert len({s.id for s in samples}) == len(samples) == 42
    assert {s.object_name for s in samples} == {"hex nut", "blister pack"}
    for name in names:
        kinds = Counter(s.defect_type for s in samples if s.category == name)
        assert kinds.pop(None) == 21 - round(21 * 0.5)
        assert set(kinds) == set(defect_kinds(name))
        assert max(kinds.values()) - min(kinds.values()) <= 1
    for row, sample in zip(rows, samples, strict=True):
        assert cv2.imread(str(folder / sample.image)).shape == (96, 96, 3)
        assert (sample.label == "defect") == (sample.mask is not None) == (row["place"] is not None)
        if sample.mask:
            mask = cv2.imread(str(folder / sample.mask), cv2.IMREAD_UNCHANGED)
            assert set(np.unique(mask)) == {0, 255}
            assert place_of(mask > 0) == row["place"]
    assert not any(p.name.endswith(".partial") for p in folder.parent.iterdir())


@pytest.mark.parametrize(("family", "defects"), [("objects", 2), ("textures", 5)])
def test_a_family_has_its_own_ratio(tmp_path, family, defects):
    name = next(iter(FAMILIES[family].categories))
    folder = make_dataset(family, tmp_path / "set", images=20, categories=[name], size=64)
    assert sum(row["label"] == "defect" for row in _rows(folder)) == defects


def test_a_folder_is_reused_only_with_the_same_settings(tmp_path):
    def make(**changes):
        wanted = {"images": 2, "defect_ratio": 0.5, "size": 64, "categories": ["gear"]} | changes
        return make_dataset("objects", tmp_path / "set", **wanted)

    (tmp_path / "set").mkdir()  # An empty folder is no obstacle.
    manifest = make() / "samples.jsonl"
    before = manifest.stat().st_mtime_ns
    make()
    assert manifest.stat().st_mtime_ns == before
    for changes in ({"images": 3}, {"seed": 1}, {"categories": ["hex_nut"]}):
        with pytest.raises(LriadError, match=next(iter(changes))):
            make(**changes)


def test_the_same_settings_give_the_same_files_and_another_seed_others(tmp_path):
    options = {"images": 2, "defect_ratio": 0.5, "size": 64, "categories": ["leather"]}
    one, two, three = (make_dataset("textures", tmp_path / str(i), seed=s, **options) for i, s in enumerate((0, 0, 1)))
    assert (one / "samples.jsonl").read_bytes() == (two / "samples.jsonl").read_bytes()
    for row in _rows(one):
        assert (one / row["image"]).read_bytes() == (two / row["image"]).read_bytes()
        assert (one / row["image"]).read_bytes() != (three / row["image"]).read_bytes()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.txt").write_text("keep")
    with pytest.raises(LriadError, match="choose another folder"):
        make_dataset("objects", tmp_path, images=1)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.txt"]


@pytest.mark.parametrize(
    ("family", "options", "hint"),
    [
        ("objekts", {"images": 1}, "'objects'"),
        ("objects", {"images": 1, "categories": ["hexnut"]}, "'hex_nut'"),
        ("objects", {"images": 1, "categories": ["leather"]}, "no category"),
        ("objects", {"images": 1, "categories": ["gear", "gear"]}, "once"),
        ("objects", {"images": 0}, "1 or more"),
        ("objects", {"images": 1, "defect_ratio": 1.5}, "from 0 to 1"),
        ("objects", {"images": 1, "size": 8}, "64 to 2048"),
    ],
)
def test_wrong_settings_are_named_and_leave_nothing(tmp_path, family, options, hint):
    with pytest.raises(LriadError, match=hint) as caught:
        make_dataset(family, tmp_path / "set", **options)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "hint"), [(errno.ENOSPC, "disk full"), (errno.EACCES, "cannot write")])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, number, hint):
    write = Path.write_bytes

    def limited(path, data):
        if path.suffix == ".png":
            raise OSError(number, "refused")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", limited)
    with pytest.raises(LriadError, match=hint) as caught:
        make_dataset("objects", tmp_path / "set", images=2, defect_ratio=0.5, size=64, categories=["gear"])
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_a_stopped_run_leaves_nothing_and_old_remains_are_swept(tmp_path, monkeypatch):
    options = {"images": 3, "size": 64, "categories": ["gear"]}
    remains = tmp_path / ".set.1.partial"
    remains.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("lriad.data.synthetic.dataset._save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make_dataset("objects", tmp_path / "set", **options)
    assert list(tmp_path.iterdir()) == [remains]  # Another process may be at work in it.
    os.utime(remains, (0, 0))
    make_dataset("objects", tmp_path / "set", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


# The reasons


@given(
    st.sampled_from([None, *SURFACE, *LOGICAL, "misprint", "pitting"]),
    st.sampled_from([None, "upper left"]),
    st.integers(0),
)
def test_the_opening_does_not_tell_the_verdict(kind, place, seed):
    text = narrate("hex nut", kind, place, seed)
    assert text == narrate("hex nut", kind, place, seed)
    assert text.split(". ")[0] == narrate("hex nut", None, None, seed).split(". ")[0]
    assert "hex nut" in text
    assert 14 <= len(text.split()) <= 45
    assert not set("<>\n") & set(text)
    if kind and place:
        assert f"at the {place}" in text


def test_reasons_of_sound_and_defective_parts_differ():
    sound = {narrate("gear", None, None, seed) for seed in range(60)}
    spoilt = {narrate("gear", kind, "top", seed) for seed in range(60) for kind in SURFACE}
    assert len(sound) > 8
    assert not sound & spoilt
    assert all("scratch" in narrate("gear", "scratch", "top", seed) for seed in range(20))


def test_describe_takes_a_rendering_or_a_row(tmp_path):
    folder = make_dataset("objects", tmp_path / "set", images=2, defect_ratio=0.5, size=64, categories=["gear"])
    for row in _rows(folder):
        again = render(row["category"], row["part_seed"], row["shot_seed"], row["defect_type"], 64)
        assert describe(row) == describe(again)
        assert again.place == row["place"]
