"""What a command imports is what it uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

_INSPECT = """
import sys
from lriad.cli import main
sys.argv = ["lriad", "inspect", sys.argv[1], "--object", "nut"]
try:
    main()
finally:
    print(*sys.modules)
"""

UNUSED = {
    *("datasets", "matplotlib", "pandas", "peft", "pyarrow", "requests", "rich", "sklearn", "tensorboard", "trl"),
    *("lriad.data.spec", "lriad.data.stats", "lriad.evaluation", "lriad.inspection.evaluate", "lriad.training"),
    *("lriad.inspection.remote", "PIL.TiffImagePlugin"),
}


def test_inspection_imports_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    image = tmp_path / "part.png"
    Image.new("RGB", (64, 64), "grey").save(image)
    done = subprocess.run([sys.executable, "-c", _INSPECT, str(image)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    verdict, modules = done.stdout.splitlines()
    assert verdict.startswith(str(image))
    assert not UNUSED & set(modules.split())


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, lriad.cli; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "transformers", "PIL", "pydantic"} & set(modules)
