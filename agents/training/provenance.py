"""What a run was made of: versions, machine, commit."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from registry.catalogue import Item
from registry.entry import API_LEVEL

LIBRARIES = ("torch", "numpy", "gymnasium", "mujoco", "pettingzoo", "pluggy", "deap", "scipy", "metaworld")


def provenance(items: Iterable[Item]) -> dict[str, Any]:
    """JSON values: every part's provider and version, libraries, machine, commit of the source tree if there is one."""
    parts = {
        item.full_name: {"kind": item.kind, "provider": item.provider, "version": item.version, **_file(item)}
        for item in items
    }
    return {
        "parts": parts,
        "api_level": API_LEVEL,
        "versions": versions(),
        "machine": machine(),
        "commit": commit(),
    }


def _file(item: Item) -> dict[str, str]:
    """The file of a plugin that is one, by name alone."""
    return {"file": Path(item.plugin.file).name} if item.plugin.key.startswith("file:") else {}


def versions() -> dict[str, str]:
    """Python and the libraries that can change a figure."""
    found = {"python": platform.python_version()}
    for name in ("taskgen-metarl", *LIBRARIES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor, cores, memory, accelerator, system, what computes networks; nothing that names the machine itself."""
    import torch

    from agents.networks import kernels

    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text().splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": None if memory is None else round(memory, 1),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}",
        "torch_threads": torch.get_num_threads(),
        "networks": kernels.told(),
    }


def commit() -> str:
    """Commit of the source tree this package runs from, "-dirty" where tracked files changed; "" outside of one."""
    head = _git("rev-parse", "HEAD")
    return head + "-dirty" if head and _git("status", "--porcelain", "--untracked-files=no") else head


def _git(*arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        return ""
    result = subprocess.run(  # noqa: S603 - fixed arguments
        [program, *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return result.stdout.strip() if result.returncode == 0 else ""
