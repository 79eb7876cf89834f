"""run.json: on what a run was run, and how long it took."""

import hashlib
import importlib.metadata
import os
import pathlib
import platform

import torch

from modules.files import write_json

_PACKAGES = ("speechbrain", "torch", "transformers", "numpy", "scikit-learn")


def machine(device="cpu"):
    """Return what computed: processor, cores, memory of a GPU if one did."""
    found = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": None,
    }
    if torch.device(device).type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor():
    """Return the processor's name, as far as the system reports it."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = [
        line.partition(":")[2].strip()
        for line in text.splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


def versions():
    """Return the versions of Python and of what the numbers depend on."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in _PACKAGES
    }


def write_run_record(run, device, seconds):
    """Write run.json: seconds, machine, versions, digests of the manifests.

    Arguments
    ---------
    run : modules.training.run.Run
    device : str or torch.device
        Device of the training.
    seconds : float
        Of this process; what an interrupted process spent is not included.
    """
    record = {
        "seconds": round(seconds, 1),
        "machine": machine(device),
        "versions": versions(),
        "manifests": {
            path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((run.folder / "manifests").glob("*.json"))
        },
    }
    write_json(run.folder / "run.json", record)
