"""How finely images are looked at that are to be remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from lriad import LriadError, Sample
from lriad.data.views import MAX_TILES, Views
from lriad.memory import fitting_views
from lriad.memory.making import explained_views
from lriad.policy import load_policy


@pytest.fixture(scope="module")
def embedded():
    return load_policy("embedded", device="cpu")


@pytest.fixture(scope="module")
def qwen(tiny_policy_dir):
    return load_policy(str(tiny_policy_dir), device="cpu", max_pixels=112 * 112)


def sample_of(file: Path) -> Sample:
    return Sample(file.name, str(file), "normal", "plate", "metal plate")


def images(folder: Path, *sizes: tuple[int, int], suffix: str = "png") -> list[Sample]:
    files = [folder / f"{index}.{suffix}" for index in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        Image.new("RGB", size, "grey").save(file)
    return [sample_of(file) for file in files]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize(
    ("size", "tiles", "layout"),
    [
        ((640, 640), 2, (2, 2)),
        ((320, 300), 1, (1, 1)),
        ((90, 60), 1, (1, 1)),
        ((640, 261), 2, (2, 1)),
        ((261, 640), 2, (1, 2)),
        ((1000, 800), 3, (3, 3)),
        ((9600, 40), MAX_TILES, (MAX_TILES, 1)),
    ],
)
def test_tiles_are_about_as_large_as_the_eyes_see_them(embedded, tmp_path, size, tiles, layout, suffix):
    views = fitting_views(images(tmp_path, size, size, suffix=suffix), embedded)
    assert views == Views(None, tiles)
    assert views.layout(size) == layout


def test_images_of_several_shapes_are_looked_at_whole(embedded, tmp_path):
    mixed = images(tmp_path, (640, 640), (640, 640), (640, 261))
    views, why = explained_views(mixed, embedded)
    assert views == Views()
    assert "several shapes" in why
    assert "as large as they are" in explained_views(images(tmp_path, (320, 320), (320, 100)), embedded)[1]


def test_most_images_tell_how_many(embedded, tmp_path):
    assert fitting_views(images(tmp_path, (640, 640), (640, 640), (1600, 1600)), embedded) == Views(None, 2)
    assert fitting_views(images(tmp_path, (640, 640), (1600, 1600)), "embedded") == Views(None, 2)
    assert explained_views(images(tmp_path, (640, 640)), embedded)[1] == ""


def test_of_a_region_its_own_size_counts(embedded, tmp_path):
    wide = images(tmp_path, (1300, 700), (1300, 1000))
    assert fitting_views(wide, embedded) == Views()
    assert fitting_views(wide, embedded, (10, 20, 640, 640)) == Views((10, 20, 640, 640), 2)
    assert fitting_views(wide, embedded, (10, 20, 300, 200)) == Views((10, 20, 300, 200))
    # One that the region does not lie in is for `remember` to refuse.
    assert fitting_views(wide, embedded, (0, 0, 1280, 800)) == Views((0, 0, 1280, 800), 4)
    with pytest.raises(LriadError, match="roi"):
        fitting_views(wide, embedded, (0, 0, 0, 5))


def test_the_grid_of_patches_tells_what_eyes_without_a_size_of_their_own_see(qwen, tmp_path):
    # At most 112 x 112 pixels; of what is smaller, all.
    assert fitting_views(images(tmp_path, (640, 640)), qwen) == Views(None, 6)
    assert fitting_views(images(tmp_path, (84, 84)), qwen) == Views()
    assert fitting_views(images(tmp_path, (168, 56)), qwen) == Views()  # long, and seen in full size
    # An image more than 200 times as long as wide is none that they can take, but in tiles.
    assert fitting_views(images(tmp_path, (1050, 5), (1050, 5)), qwen) == Views(None, 9)
    assert fitting_views(images(tmp_path, (640, 640), (2100, 10)), qwen) == Views()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_sizes_are_those_of_upright_images(embedded, tmp_path, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (640, 261), "grey").save(tmp_path / f"turned.{suffix}", exif=exif)
    upright = images(tmp_path, (261, 640))
    assert fitting_views([*upright, sample_of(tmp_path / f"turned.{suffix}")], embedded) == Views(None, 2)


def test_what_cannot_be_read_does_not_count(embedded, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    os.mkfifo(tmp_path / "pipe.jpg")
    unreadable = [sample_of(tmp_path / name) for name in ("broken.jpg", "pipe.jpg", "missing.jpg")]
    assert fitting_views([*unreadable, *images(tmp_path, (640, 640))], embedded) == Views(None, 2)
    assert fitting_views(unreadable, embedded, (0, 0, 90, 90)) == Views((0, 0, 90, 90))
    assert fitting_views([], embedded) == Views()


def test_a_few_pixels_make_no_other_layout(embedded, tmp_path):
    views = fitting_views(images(tmp_path, (1000, 666), (1000, 667), (1000, 668)), embedded)
    assert views == Views(None, 3)
    assert views.layout((1000, 667)) == (3, 2)


def test_more_tiles_than_there_may_be_are_told(embedded, tmp_path):
    views, why = explained_views(images(tmp_path, (9600, 40), (9600, 40)), embedded)
    assert views == Views(None, MAX_TILES)
    assert why == "its eyes need 30, more cannot be had"
