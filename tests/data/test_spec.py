from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lriad.data import load_dataset
from lriad.errors import LriadError


def failure(spec: str, **arguments: object) -> str:
    with pytest.raises(LriadError) as error:
        load_dataset(spec, **arguments)  # type: ignore[arg-type]
    assert str(error.value).isprintable()
    return str(error.value)


def test_every_kind(pictures) -> None:
    root = pictures(
        "f/a/good/1.png", "m/a/train/good/1.png", "v/a/Data/Images/Normal/1.png", "1.png", "home/a/good/1.png"
    )
    (root / "l.jsonl").write_text('{"image": "1.png", "label": "ok"}\n')
    (root / "l.csv").write_text("image,label\n1.png,ok\n")
    for spec in ("folder:f", "mvtec:m", "visa:v", "jsonl:l.jsonl", "csv:l.csv"):
        kind, path = spec.split(":")
        samples = load_dataset(f" {kind.upper()}: {root / path} ")
        assert len(samples) == 1
        assert os.path.isfile(samples[0].image)


def test_home_folder(pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(pictures("a/good/1.png")))
    assert len(load_dataset("folder:~/a")) == 1


def test_several_specs_follow_one_another(pictures) -> None:
    root = pictures("one, two/a/good/1.png", "three/b/good/1.png")
    samples = load_dataset(f"folder:{root}/three, folder:{root}/one, two")
    assert [s.id for s in samples] == ["b/good/1.png", "a/good/1.png"]
    assert all(os.path.isfile(s.image) for s in samples)


def test_ids_that_clash_get_the_name_of_the_data_set(pictures) -> None:
    root = pictures("x/a/good/1.png", "y/a/good/1.png", "y/b/good/1.png", "z/x/a/good/1.png")
    spec = f"folder:{root}/x,folder:{root}/y,folder:{root}/z/x"
    assert [s.id for s in load_dataset(spec)] == [
        "x/a/good/1.png",
        "y/a/good/1.png",
        "y/b/good/1.png",
        "x#2/a/good/1.png",
    ]
    # An id does not depend on what else is asked for.
    assert [s.id for s in load_dataset(spec, categories=["b"])] == ["y/b/good/1.png"]
    assert "twice" in failure(f"folder:{root}/x,folder:{root}/x")


def test_categories(pictures) -> None:
    root = pictures("x/bottle/good/1.png", "x/metal_nut/good/1.png", "y/cap/good/1.png")
    spec = f"folder:{root}/x,folder:{root}/y"
    assert [s.category for s in load_dataset(spec, categories=["cap", "metal_nut"])] == ["metal_nut", "cap"]
    message = failure(spec, categories=["cap", "botle"])
    assert "has no category 'botle'; did you mean 'bottle'? it has bottle, cap, metal_nut" in message
    assert "empty" in failure(spec, categories=[])
    assert "give a list" in failure(spec, categories="cap")


def test_split(pictures) -> None:
    root = pictures("m/a/train/good/1.png", "m/a/test/bent/1.png", "f/b/good/1.png", "t/c/train/good/1.png")
    assert len(load_dataset(f"mvtec:{root}/m", split="all")) == 2
    assert [s.id for s in load_dataset(f"mvtec:{root}/m", split="train")] == ["a/train/good/1.png"]
    assert [s.id for s in load_dataset(f"mvtec:{root}/m", split="test")] == ["a/test/bent/1.png"]
    assert "has no test image" in failure(f"mvtec:{root}/t", split="test")
    assert "did you mean 'train'?" in failure(f"mvtec:{root}/m", split="trian")
    # A category without sides is never dropped in silence, also beside one that has them.
    message = failure(f"mvtec:{root}/m,folder:{root}/f", split="test")
    assert "category 'b' has no official train and test sides; use split=all" in message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "has no kind; write KIND:PATH"),
        ("photos", "such as folder:photos"),
        ("mvtek:photos", "kind 'mvtek' is not known; did you mean 'mvtec'?"),
        ("csv:a.csv,vissa:b", "did you mean 'visa'?"),
        ("folder:", "has no path or name"),
        ("folder: ", "has no path or name"),
        ("synthetic:objcts", "did you mean 'objects'?"),
        ("folder:/absent/photos", "/absent/photos: there is no such file or folder"),
        ("jsonl:/absent.jsonl", "/absent.jsonl: there is no such file or folder"),
        ("folder:a\0b", "null"),
    ],
)
def test_wrong_specs(spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in failure(spec)


def test_synthetic_set_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LRIAD_CACHE", str(tmp_path))
    monkeypatch.setattr("lriad.data.spec.SYNTHETIC_IMAGES", 3)
    first = load_dataset("synthetic:textures")
    assert len(first) == 30
    assert {s.label for s in first} == {"normal", "defect"}
    assert all(Path(s.image).is_relative_to(tmp_path) and os.path.isfile(s.image) for s in first)
    [folder] = (tmp_path / "synthetic").iterdir()  # no draft is left
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert list(load_dataset("synthetic:textures")) == list(first)
    assert made == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LRIAD_CACHE", str(tmp_path / "file"))
    assert "LRIAD_CACHE names the folder" in failure("synthetic:objects")


def test_importing_the_package_is_light() -> None:
    code = "import sys, lriad.data; print({'torch', 'numpy', 'PIL', 'cv2', 'sklearn'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.real
def test_real_data_sets_together(real_data: Path) -> None:
    names = sorted(path.name for path in real_data.iterdir() if path.is_dir())
    samples = load_dataset(",".join(f"folder:{real_data / name}" for name in names))
    assert len(samples) == 2800
    assert len({s.id for s in samples}) == 2800
    assert sum(s.label == "defect" for s in samples) == 1103
    test = load_dataset(f"folder:{real_data}/mvtec_ad_part", split="test", categories=["bottle"])
    assert len(test) == 51
