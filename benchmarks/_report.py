"""Where figures come from, and how they get into the docs."""

from __future__ import annotations

import datetime
import platform
import re
from importlib.metadata import version
from pathlib import Path

import torch

LIBRARIES = ("torch", "transformers", "trl", "peft")


def machine() -> str:
    """One line: the day, the machine, and the versions."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        name = found.group(1).strip() if found else name
    if torch.cuda.is_available():
        name = f"{torch.cuda.get_device_name()}, {name}"
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    return f"{datetime.date.today()}; {name}, {torch.get_num_threads()} threads; {versions}."


def write_section(file: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->` in a markdown file.

    Raises:
        SystemExit: The file has no such section.
    """
    content = file.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(content):
        raise SystemExit(f"{file}: no section <!-- {name} --> … <!-- /{name} -->")
    file.write_text(pattern.sub(lambda match: f"{match[1]}{text.strip()}\n{match[2]}", content), encoding="utf-8")
