"""Heat-maps as files."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from lriad.errors import LriadError
from lriad.explain import map_file, read_map, save_map
from lriad.verdict import Verdict


def of_map(heatmap) -> Verdict:
    plain = {"label": "defect", "p_defect": 0.9, "decision": "defect", "reasoning": "", "text": "", "mode": "fast"}
    plain |= {"follows_format": True, "answer_forced": False, "seconds": 0.0, "prompt_version": "1"}
    return Verdict(
        **plain,
        image_sha256="f" * 64,
        policy_sha256="0" * 64,
        adapter_sha256=None,
        heatmap=np.asarray(heatmap, np.float32),
    )


def test_what_is_kept_is_read_again(tmp_path):
    heat = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    heat[0, 0] = np.nan
    file = save_map(of_map(heat), tmp_path / "maps")
    assert file == map_file("f" * 64, tmp_path / "maps")
    np.testing.assert_allclose(read_map(file), heat, atol=1e-3)


def test_a_huge_deviation_stays_a_number(tmp_path):
    found = read_map(save_map(of_map([[1e6, -1e6]]), tmp_path))
    assert np.isfinite(found).all()
    assert found[0, 0] > found[0, 1]


def _npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.npy", _npy(np.zeros((2, 2))))
    return out.getvalue()


def _header(descr: str, shape: tuple[int, int]) -> bytes:
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    return (b"\x93NUMPY\x01\x00v\x00" + repr(fields).encode()).ljust(127) + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        _zip(),
        _npy(np.zeros((2, 2), np.float16))[:-3],
        _npy(np.zeros(4, np.float32)),
        _npy(np.zeros((2, 2), int)),
        _npy(np.full((2, 2), np.nan, np.float16)),
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f2', 'fortran_order': False, 'shape': (4000000, 4000000), }".ljust(127)
        + b"\n",
        b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (2, 2), }".ljust(127) + b"\n",
    ],
)
def test_what_is_no_map_is_one_line(tmp_path, content):
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    with pytest.raises(LriadError, match="no heat-map that can be read"):
        read_map(file)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(LriadError, match="no heat-map"):
        read_map(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "F" * 64, "f" * 63])
def test_a_name_that_is_no_hash_is_no_path(tmp_path, name):
    with pytest.raises(LriadError, match="no hash"):
        map_file(name, tmp_path)
