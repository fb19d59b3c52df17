from __future__ import annotations

import os
from pathlib import Path

import pytest

from lriad.data.folder import load_folder
from lriad.errors import LriadError


def test_categories_labels_types_and_masks(pictures) -> None:
    root = pictures(
        "metal_nut/good/2.png",
        "metal_nut/good/10.JPG",
        "metal_nut/good/day 2/1.bmp",
        "metal_nut/defect/scratch/1.png",
        "metal_nut/defect/scratch/deep/1.png",
        "metal_nut/defect/2.jpg",
        "metal_nut/mask/scratch/1.png",
        "metal_nut/mask/2.png",
        "Cap/OK/1.png",
        "Cap/NG/1.png",
        "Cap/unknown/1.png",
    )
    (root / "metal_nut/good/notes.txt").write_text("no image")
    (root / "metal_nut/good/.hidden.png").touch()
    (root / "README.md").write_text("no image")

    samples = load_folder(root)

    assert [(s.id, s.label, s.defect_type) for s in samples] == [
        ("Cap/NG/1.png", "defect", None),
        ("Cap/OK/1.png", "normal", None),
        ("Cap/unknown/1.png", "unknown", None),
        ("metal_nut/defect/2.jpg", "defect", None),
        ("metal_nut/defect/scratch/1.png", "defect", "scratch"),
        ("metal_nut/defect/scratch/deep/1.png", "defect", "scratch"),
        ("metal_nut/good/10.JPG", "normal", None),
        ("metal_nut/good/2.png", "normal", None),
        ("metal_nut/good/day 2/1.bmp", "normal", None),
    ]
    by_id = {s.id: s for s in samples}
    assert by_id["metal_nut/defect/2.jpg"].mask == str(root / "metal_nut/mask/2.png")
    assert by_id["metal_nut/defect/scratch/1.png"].mask == str(root / "metal_nut/mask/scratch/1.png")
    assert by_id["metal_nut/defect/scratch/deep/1.png"].mask is None
    assert by_id["metal_nut/good/2.png"].mask is None
    assert by_id["metal_nut/good/2.png"].object_name == "metal nut"
    assert {s.dataset for s in samples} == {root.name}
    assert all(s.split is None and s.group is None for s in samples)
    assert all(os.path.exists(s.image) for s in samples)


def test_root_that_is_one_category(pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pictures("metal_nut/good/1.png", "metal_nut/defect/1.png", "metal_nut/mask/1.png") / "metal_nut"
    monkeypatch.chdir(root)
    for path in (root, ".", f"{root}/"):
        samples = load_folder(path)
        assert [s.id for s in samples] == ["defect/1.png", "good/1.png"]
        assert {(s.category, s.dataset) for s in samples} == {("metal_nut", "metal_nut")}
        assert all(os.path.exists(s.image) for s in samples)
        assert samples[0].mask is not None
        assert os.path.exists(samples[0].mask)


def test_one_class_is_allowed(pictures) -> None:
    assert [s.label for s in load_folder(pictures("a/good/1.png", "a/good/2.png"))] == ["normal", "normal"]


def test_a_number_is_no_object_name(pictures) -> None:
    assert load_folder(pictures("01/good/1.png"))[0].object_name == "part"


def test_files_csv_gives_groups(pictures) -> None:
    root = pictures("a/good/1.png", "a/good/2.png", "a/defect/x/1.png", "a/good/3.png")
    (root / "a/files.csv").write_text("file,group\ngood/1.png,board 7\ndefect/x/1.png,board 7\ngood/2.png,\n")
    assert {s.id: s.group for s in load_folder(root)} == {
        "a/good/1.png": "board 7",
        "a/defect/x/1.png": "board 7",
        "a/good/2.png": None,
        "a/good/3.png": None,
    }


def test_groups_named_train_and_test_are_the_official_sides(pictures) -> None:
    root = pictures("a/good/1.png", "a/good/2.png", "a/defect/x/1.png")
    (root / "a/files.csv").write_text("file,group\ngood/1.png,train\ngood/2.png,test\ndefect/x/1.png,test\n")
    assert {(s.id, s.split, s.group) for s in load_folder(root)} == {
        ("a/good/1.png", "train", None),
        ("a/good/2.png", "test", None),
        ("a/defect/x/1.png", "test", None),
    }


def test_split_column(pictures) -> None:
    root = pictures("a/good/1.png", "a/good/2.png")
    (root / "a/files.csv").write_text("file;split;group\ngood/1.png;train;s1\ngood\\2.png;Test;s2\n")
    assert [(s.split, s.group) for s in load_folder(root)] == [("train", "s1"), ("test", "s2")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,group\ngood/1.png,a\n", r"files.csv:2: has no column 'file'"),
        ("file,split\ngood/1.png,val\n", r"files.csv:2: split 'val' is not known"),
        ("file,group\ngood/1.png,a\ngood/1.png,b\n", r"files.csv:3: 'good/1.png' is also on line 2"),
        ("file,group\n/elsewhere/1.png,a\n", r"files.csv: names none of the images"),
    ],
)
def test_wrong_files_csv(pictures, content: str, message: str) -> None:
    root = pictures("a/good/1.png")
    (root / "a/files.csv").write_text(content)
    with pytest.raises(LriadError, match=message):
        load_folder(root)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["a/good/1.png", "a/scratch/1.png"],
            r"a/scratch: images lie outside the layout; put them below good/",
        ),
        (["a/good/1.png", "a/1.png"], r"a/1.png: images lie outside the layout"),
        (["a/good/1.png", "b/1.png"], r"/b: images lie outside the layout"),
        (["1.png", "2.png"], r"holds no <category>/good and <category>/defect/<type>"),
        (["a/train/good/1.png"], r"looks like the mvtec layout .*; use mvtec:"),
        (["train/good/1.png", "test/defect/1.png"], r"looks like the mvtec layout .*; use mvtec:"),
        (["a/Data/Images/Normal/1.png"], r"looks like the visa layout .*; use visa:"),
    ],
)
def test_images_that_the_layout_has_no_place_for(pictures, paths: list[str], message: str) -> None:
    with pytest.raises(LriadError, match=message) as error:
        load_folder(pictures(*paths))
    assert "\n" not in str(error.value)


def test_missing_empty_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "empty/a/good").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    (tmp_path / "file.txt").touch()
    for name, message in (
        ("absent", "no such file or folder"),
        ("nothing", "holds no"),
        ("empty", "holds no image"),
        ("file.txt", "a file, not a folder"),
    ):
        with pytest.raises(LriadError, match=message) as error:
            load_folder(tmp_path / name)
        assert name in str(error.value)


def test_unreadable_folder(pictures, without_rights) -> None:
    root = pictures("a/good/1.png", "a/defect/1.png")
    (root / "a/defect").chmod(0)
    with without_rights(), pytest.raises(LriadError, match="no permission to read it"):
        load_folder(root)


def test_link_that_leads_to_itself(pictures) -> None:
    root = pictures("a/good/1.png")
    (root / "a/good/again").symlink_to(root / "a/good")
    with pytest.raises(LriadError, match="cannot be read"):
        load_folder(root)


def test_name_that_is_not_utf_8(pictures) -> None:
    root = pictures("a/good/1.png")
    try:
        (root / "a/good" / os.fsdecode(b"\xff.png")).touch()
    except OSError:
        pytest.skip("the file system only takes UTF-8")
    with pytest.raises(LriadError, match="not valid UTF-8") as error:
        load_folder(root)
    str(error.value).encode()


@pytest.mark.real
def test_real_data_sets(real_data: Path) -> None:
    expected = {
        "aws_lookout": {"toy_alien": (58, 60, 0)},
        "bsdata": {"ball_screw": (250, 150, 150)},
        "deeppcb": {"pcb": (250, 200, 200)},
        "elpv": {"solar_mono": (300, 200, 0), "solar_poly": (300, 200, 0)},
        "magnetic_tile": {"tile": (250, 232, 229)},
        "mvtec_ad_part": {"bottle": (229, 31, 0), "toothbrush": (60, 30, 30)},
    }
    for name, categories in expected.items():
        samples = load_folder(real_data / name)
        for category, (good, defect, masks) in categories.items():
            mine = [s for s in samples if s.category == category]
            assert sum(s.label == "normal" for s in mine) == good
            assert sum(s.label == "defect" for s in mine) == defect
            assert sum(s.mask is not None for s in mine) == masks
        assert {s.category for s in samples} == categories.keys()
        assert all(os.path.isfile(s.image) for s in samples)
        assert any(s.split for s in samples) == (name == "mvtec_ad_part")
        assert any(s.group for s in samples) == (name in ("bsdata", "deeppcb", "magnetic_tile"))
    bottle = [s for s in load_folder(real_data / "mvtec_ad_part") if s.category == "bottle"]
    assert sum(s.split == "train" for s in bottle) == 209
