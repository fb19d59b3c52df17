from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lriad.data.image import MAX_PIXELS, file_sha256, image_suffixes, open_image
from lriad.errors import LriadError


def one_line(error: pytest.ExceptionInfo[LriadError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.isprintable()
    return text


def scene() -> Image.Image:
    """6 x 4, its upper left pixel red, the rest grey: every turn of it looks different."""
    image = Image.new("RGB", (6, 4), (90, 90, 90))
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((1, 0), (0, 0, 255))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.new("RGB", (48, 32), (90, 90, 90))
    ImageDraw.Draw(upright).rectangle((0, 0, 15, 7), fill=(255, 0, 0))
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    stored.save(path, exif=exif, quality=95)

    image = open_image(path)

    assert image.size == (48, 32)
    difference = np.abs(np.asarray(image).astype(int) - np.asarray(upright).astype(int))
    assert difference.mean() < 8
    assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_leaves_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    scene().save(path, exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff", quality=95)
    assert open_image(path).size == (6, 4)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "RGBA", "PA", "I;16", "I", "F", "LAB"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "png" if mode in ("1", "L", "P", "RGB", "LA", "RGBA", "PA", "I;16") else "tif"
    grey = Image.new("L", (6, 4), 255)
    if mode == "LAB":
        image = Image.merge("LAB", [grey, Image.new("L", (6, 4), 128), Image.new("L", (6, 4), 128)])
    elif mode in ("I;16", "I"):
        image = Image.fromarray(np.full((4, 6), 65535, np.uint16 if mode == "I;16" else np.int32))
    elif mode == "F":
        image = Image.fromarray(np.ones((4, 6), np.float32))
    elif mode == "PA":
        image = Image.new("RGBA", (6, 4), "white").quantize()
    elif mode in ("CMYK", "YCbCr"):
        image = Image.new("RGB", (6, 4), "white").convert(mode)
    else:
        image = grey.convert(mode)
    image.save(tmp_path / f"x.{suffix}")

    opened = open_image(tmp_path / f"x.{suffix}")

    assert opened.mode == "RGB"
    assert opened.size == (6, 4)
    assert np.asarray(opened).min() >= 250


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    red, green, blue = open_image(tmp_path / "red.jpg").getpixel((8, 8))
    assert red > 230
    assert green < 60
    assert blue < 60


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    if mode == "P":
        palette = Image.new("P", (2, 1))
        palette.putpalette([10, 20, 30, 0, 0, 0])
        palette.putpixel((1, 0), 1)
        palette.save(tmp_path / "x.png", transparency=0)
    else:
        image.convert(mode).save(tmp_path / "x.png")
    opened = open_image(tmp_path / "x.png")
    assert opened.getpixel((0, 0)) == (255, 255, 255)
    assert opened.getpixel((1, 0)) == (0, 0, 0)


def test_half_transparent_is_blended(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (0, 0, 0, 128)).save(tmp_path / "x.png")
    assert open_image(tmp_path / "x.png").getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 32896, 65535]], np.uint16), [0, 1, 128, 255]),
        (np.array([[0, 1, 128, 255]], np.uint16), [0, 1, 128, 255]),
        (np.array([[0, 257, 32896, 65535]], np.int32), [0, 1, 128, 255]),
        (np.array([[0, 100_000, 200_000]], np.int32), [0, 128, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 127.6, 255.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 32896.0, 65535.0]], np.float32), [0, 128, 255]),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, np.inf, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[-5.0, -5.0]], np.float32), [0, 0]),
    ],
)
def test_more_than_8_bits(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    opened = np.asarray(open_image(tmp_path / "x.tif"))
    assert opened.shape == (1, len(expected), 3)
    assert opened[0, :, 1].tolist() == expected
    assert (opened == opened[:, :, :1]).all()


def test_16_bit_png_and_big_endian_tiff(tmp_path: Path) -> None:
    values = np.array([[0, 1000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    Image.frombytes("I;16B", (3, 1), values.astype(">u2").tobytes()).save(tmp_path / "x.tif")
    for name in ("x.png", "x.tif"):
        assert np.asarray(open_image(tmp_path / name))[0, :, 0].tolist() == [0, 3, 255]


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "png"])
def test_first_frame_of_several(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second])
    red, _, blue = open_image(tmp_path / f"x.{suffix}").getpixel((4, 4))
    assert red > 200
    assert blue < 60


@pytest.mark.parametrize("suffix", ["bmp", "ppm", "tga", "jp2", "avif", "pcx", "sgi", "ico", "dds"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (32, 32), (200, 10, 10)).save(tmp_path / f"x.{suffix}")
    image = open_image(tmp_path / f"x.{suffix}")
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image).reshape(-1, 3).mean(0) - (200, 10, 10)).max() < 12


def test_accepts_text_and_path(tmp_path: Path) -> None:
    scene().save(tmp_path / "x.png")
    assert open_image(str(tmp_path / "x.png")).tobytes() == open_image(tmp_path / "x.png").tobytes()


def test_no_file_handle_stays_open(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    scene().save(tmp_path / "x.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "x.png").read_bytes()[:40])
    for name in ("x.png", "bad.png"):
        with contextlib.suppress(LriadError):
            open_image(tmp_path / name)
        links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
        assert str(tmp_path / name) not in links


def _is_open(fd: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{fd}")


@pytest.mark.parametrize("read", [open_image, file_sha256])
def test_missing_empty_folder_and_pipe(tmp_path: Path, read) -> None:
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    for name, word in (
        ("absent.png", "no such file"),
        ("empty.png", "empty (0 bytes)"),
        ("", "folder"),
        ("pipe.png", "not a regular file"),
        ("a\0b.png", "null"),
        ("x" * 5000, "too long"),
        ("line\nbreak.png", "no such file"),
    ):
        with pytest.raises(LriadError) as error:
            read(os.path.join(tmp_path, name))
        assert word in one_line(error)
        assert tmp_path.name in one_line(error)


@pytest.mark.parametrize("read", [open_image, file_sha256])
def test_without_permission(tmp_path: Path, read, without_rights) -> None:
    path = tmp_path / "x.png"
    scene().save(path)
    path.chmod(0)
    with without_rights(), pytest.raises(LriadError, match="no permission"):
        read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp", "gif"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    for share in (0.02, 0.3, 0.7):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        with pytest.raises(LriadError) as error:
            open_image(cut)
        assert f"cut.{suffix}" in one_line(error)


@pytest.mark.parametrize("content", [b"just text", b"%PDF-1.7 ...", b"PK\x03\x04", b"\x00" * 500, b"<svg xmlns='x'/>"])
def test_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(LriadError) as error:
        open_image(path)
    assert "x.png" in one_line(error)


def test_postscript_is_never_run(tmp_path: Path) -> None:
    for name in ("x.eps", "x.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, format="EPS")
        with pytest.raises(LriadError, match="not an image that can be read"):
            open_image(tmp_path / name)
    assert ".eps" not in image_suffixes()


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(60_000, 60_000), (MAX_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
def test_gigantic_is_refused_before_it_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_size(*size))
    with pytest.raises(LriadError, match="too large") as error:
        open_image(path)
    assert "179 megapixels" in one_line(error)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_large_but_allowed(tmp_path: Path) -> None:
    Image.new("1", (12_000, 8_000)).save(tmp_path / "large.png")
    assert open_image(tmp_path / "large.png").size == (12_000, 8_000)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["png", "jpg", "tif", "gif", "bmp", "webp", "tga", "jp2", "ico", "ppm"]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
    keep=st.floats(0.05, 1),
)
def test_damaged_bytes_give_an_image_or_one_line(tmp_path: Path, suffix: str, changes, keep: float) -> None:
    original = tmp_path / f"original.{suffix}"
    if not original.exists():
        scene().resize((32, 32)).save(original)
    content = bytearray(original.read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    damaged = tmp_path / f"damaged.{suffix}"
    damaged.write_bytes(content[: max(1, int(keep * len(content)))])
    try:
        image = open_image(damaged)
    except LriadError as error:
        message = str(error)
    else:
        assert image.mode == "RGB"
        return
    assert message.isprintable()
    assert f"damaged.{suffix}" in message


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    content = os.urandom(3_000_000)
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_suffixes() -> None:
    assert {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic"} <= image_suffixes()
    assert not {".csv", ".txt", ".pdf", ".svg", ".mpg", ".npy"} & image_suffixes()


@pytest.mark.real
def test_real_photographs(real_data: Path) -> None:
    for folder in sorted(real_data.glob("*/*/*")):
        photographs = sorted(path for path in folder.rglob("*") if path.suffix in image_suffixes())
        if photographs:
            image = open_image(photographs[0])
            assert image.mode == "RGB"
            assert 0 < max(image.size) <= 640
