"""Maps against masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from lriad.evaluation.localisation import SIDE, _resized, _resized_mask, localisation, measure_localisation


def masks() -> list[np.ndarray]:
    first, second = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    first[10:20, 10:20] = True
    second[40:60, 5:15] = True
    second[2:6, 50:54] = True
    return [first, second, np.zeros((64, 64), bool)]


def test_a_perfect_map_has_ones():
    found = localisation([mask.astype(np.float32) for mask in masks()], masks())
    assert found.pixel_auroc == pytest.approx(1.0, abs=0.01)
    assert found.aupro == pytest.approx(1.0, abs=0.03)
    assert found.pointing == 1.0


def test_a_map_of_noise_is_chance():
    rng = np.random.default_rng(0)
    found = localisation([rng.random((64, 64)).astype(np.float32) for _ in masks()], masks())
    assert found.pixel_auroc == pytest.approx(0.5, abs=0.08)
    assert found.aupro == pytest.approx(0.15, abs=0.08)  # the mean of rates from 0 to 0.3


def test_a_small_region_counts_as_much_as_a_large_one():
    maps = [mask.astype(np.float32) for mask in masks()]
    large_missed, small_missed = [m.copy() for m in maps], [m.copy() for m in maps]
    large_missed[1][40:60, 5:15] = 0
    small_missed[1][2:6, 50:54] = 0
    found = [localisation(one, masks()) for one in (large_missed, small_missed)]
    assert found[0].aupro == pytest.approx(found[1].aupro, abs=0.05)
    assert found[0].pixel_auroc < found[1].pixel_auroc


def test_pointing_allows_one_place_and_not_more():
    mask = np.zeros((60, 60), bool)
    mask[30:36, 30:36] = True
    one = np.zeros((10, 10), np.float32)
    one[4, 5] = 1.0
    assert localisation([one], [mask]).pointing == 1.0
    far = np.zeros((10, 10), np.float32)
    far[2, 5] = 1.0
    assert localisation([far], [mask]).pointing == 0.0


def test_nothing_to_find_gives_nothing():
    found = localisation([np.zeros((4, 4), np.float32)], [np.zeros((8, 8), bool)])
    assert (found.pixel_auroc, found.aupro, found.pointing) == (None, None, None)


def squares(n: int, rng: np.random.Generator, reach: int = 200) -> list[np.ndarray]:
    """Masks of one square each, all of it within the first `reach` rows and columns of 256; none in every third."""
    made = []
    for number in range(n):
        mask = np.zeros((SIDE, SIDE), bool)
        top, left = rng.integers(0, reach - 30, 2)
        mask[top : top + 30, left : left + 30] = number % 3 > 0
        made.append(mask)
    return made


def exactly(maps: list[np.ndarray], masks: list[np.ndarray]) -> tuple[float, float]:
    """Pixel AUROC and AUPRO from all pixels, sorted."""
    score_NHW = np.stack([_resized(one.astype(np.float32)) for one in maps])
    mask_NHW = np.stack([_resized_mask(mask) for mask in masks])
    sound = np.sort(score_NHW[~mask_NHW])
    rates = np.linspace(0, 0.3, 300)
    thresholds = sound[np.ceil((1 - rates) * (len(sound) - 1)).astype(int)]
    overlaps = []
    for score_HW, mask_HW in zip(score_NHW, mask_NHW, strict=True):
        count, labels = cv2.connectedComponents(mask_HW.astype(np.uint8))
        overlaps += [[(score_HW[labels == label] > at).mean() for at in thresholds] for label in range(1, count)]
    aupro = np.trapezoid(np.mean(overlaps, 0), rates) / 0.3
    return float(roc_auc_score(mask_NHW.ravel(), score_NHW.ravel())), float(aupro)


@pytest.mark.parametrize(
    "kind", ["two values", "soft", "noise", "heavy tails", "far from 0", "one peak", "half", "fine"]
)
def test_histograms_give_what_all_pixels_give(kind):
    rng = np.random.default_rng(2)
    masks = squares(9, rng)
    side = 300 if kind == "fine" else 40
    near = [cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) for mask in masks]
    noise = [rng.random((side, side)) for _ in masks]
    make = {
        "two values": lambda a, b: (a > 0).astype(np.float32),
        "soft": lambda a, b: a + 0.3 * b,
        "noise": lambda a, b: b,
        "heavy tails": lambda a, b: np.exp(20 * b + 6 * a),
        "far from 0": lambda a, b: 1e4 + 0.01 * b + 0.005 * a,
        "one peak": lambda a, b: 1e-3 * b + 1e3 * a,
        "half": lambda a, b: (a + b).astype(np.float16),
        "fine": lambda a, b: a + b,
    }[kind]
    maps = [make(a, b) for a, b in zip(near, noise, strict=True)]
    found = localisation(maps, masks)
    assert (found.pixel_auroc, found.aupro) == pytest.approx(exactly(maps, masks), abs=1e-3)


def test_noise_in_a_region_of_interest_is_chance():
    rng = np.random.default_rng(3)
    masks = squares(40, rng, reach=128)
    maps = [np.full((40, 40), np.nan, np.float32) for _ in masks]
    for one in maps:
        one[:20, :20] = rng.random((20, 20))
    found = localisation(maps, masks)
    assert found.pixel_auroc == pytest.approx(0.5, abs=0.08)
    assert found.aupro == pytest.approx(0.15, abs=0.08)


def test_where_nothing_was_looked_at_changes_nothing():
    rng = np.random.default_rng(4)
    masks = squares(6, rng, reach=128)
    maps = [rng.random((32, 32)).astype(np.float32) for _ in masks]
    around = [np.full((64, 64), np.nan, np.float32) for _ in masks]
    wide = [np.zeros((512, 512), bool) for _ in masks]
    for outer, one, outer_mask, mask in zip(around, maps, wide, masks, strict=True):
        outer[:32, :32], outer_mask[:256, :256] = one, mask
    inside, whole = localisation(maps, masks), localisation(around, wide)
    assert whole.pixel_auroc == pytest.approx(inside.pixel_auroc, abs=0.02)
    assert whole.aupro == pytest.approx(inside.aupro, abs=0.03)
    assert whole.pointing == inside.pointing


def test_a_defect_that_was_not_looked_at_is_not_pointed_at_and_in_no_other_number():
    seen, elsewhere = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    seen[4:12, 4:12] = True
    elsewhere[34:44, 20:28] = True
    one = np.full((16, 16), np.nan, np.float32)
    one[:8] = 0.0
    one[1:3, 1:3] = 1.0
    edge = one.copy()
    edge[7, 6] = 2.0  # beside the defect, which begins in the next row
    alone, both = localisation([one], [seen]), localisation([one, one], [seen, seen | elsewhere])
    assert both == alone
    assert alone.pointing == 1.0
    assert localisation([edge], [elsewhere]).pointing == 0.0
    blind = np.full((4, 4), np.nan, np.float32)
    assert vars(localisation([blind], [seen])) == {"pixel_auroc": None, "aupro": None, "pointing": 0.0}


def on_disk(folder, maps, masks):
    """Rows of images with these maps and masks, kept in a folder."""
    rows = []
    for number, (one, mask) in enumerate(zip(maps, masks, strict=True)):
        sha256 = f"{number:064}"[::-1]
        np.save(folder / f"{sha256[:16]}.npy", one.astype(np.float16))
        Image.fromarray(mask).save(folder / f"{number}.png")
        truth = "defect" if mask.any() else "normal"
        mask_file = str(folder / f"{number}.png") if mask.any() else None
        rows.append({"id": f"{number}", "truth": truth, "mask": mask_file, "image_sha256": sha256, "label": "A"})
    return rows


def test_chance_and_the_centre_look_where_the_map_does(tmp_path):
    mask = np.zeros((64, 64), bool)
    mask[16:24, 16:24] = True
    quarter = np.full((16, 16), np.nan, np.float32)
    quarter[:8, :8] = np.arange(64).reshape(8, 8)
    rows = on_disk(tmp_path, [quarter, quarter], [mask, np.zeros_like(mask)])
    found, unreadable = measure_localisation(rows, ["nut", "nut"], tmp_path)
    assert unreadable == 0
    located = found["nut"]
    assert (located.n, located.n_masks) == (2, 1)
    assert located.chance.pointing == 16 / 64  # two places and those around them, of the quarter
    assert located.centre.pointing == 0.0  # its highest place is the quarter's corner
    assert located.centre.pixel_auroc == pytest.approx(
        localisation(
            [-np.add.outer(row := np.linspace(-1, 1, 16)[:8] ** 2, row)] * 2, [mask[:32, :32], mask[:32, :32] & False]
        ).pixel_auroc,
        abs=0.02,
    )


def test_maps_that_cannot_be_read_are_counted_and_left_out(tmp_path):
    rng = np.random.default_rng(5)
    masks = squares(6, rng)
    rows = on_disk(tmp_path, [rng.random((20, 20)) for _ in masks], masks)
    files = [tmp_path / f"{row['image_sha256'][:16]}.npy" for row in rows]
    whole, _ = measure_localisation(rows, ["nut"] * 6, tmp_path)
    with files[0].open("wb") as file:
        np.savez(file, a=np.zeros((2, 2)))
    files[1].write_bytes(b"PK\x03\x04")
    np.lib.format.write_array_header_1_0(
        files[2].open("wb"), {"shape": (4_000_000, 4_000_000), "fortran_order": False, "descr": "<f4"}
    )
    found, unreadable = measure_localisation(rows, ["nut"] * 6, tmp_path)
    assert (whole["nut"].n, found["nut"].n, unreadable) == (6, 3, 3)
    strange = [{**row, "image_sha256": name} for row, name in zip(rows, [None, "", "../x", 7, *"ab"], strict=True)]
    assert measure_localisation(strange, ["nut"] * 6, tmp_path) == (None, 0)


def test_memory_does_not_grow_with_the_pixels(tmp_path):
    import tracemalloc

    rng = np.random.default_rng(6)
    masks = squares(60, rng)
    rows = on_disk(tmp_path, [rng.random((20, 20)) for _ in masks], masks)
    peaks = []
    for n in (6, 60):
        tracemalloc.start()
        measure_localisation(rows[:n], ["nut"] * n, tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 54 * 20_000  # the maps themselves; a pixel of each would be 65 kB at the least
