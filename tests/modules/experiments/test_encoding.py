"""Encoding in parts, by processes of which one is killed in the middle."""

import os
import pathlib
import signal

from safetensors import safe_open

from modules.experiments import child, launcher, processes
from modules.experiments.read_plan import read_plan
from modules.features import extraction
from modules.features.store import FeatureStore

SHARDS = 5
KILLED = "killed.txt"


def killed_once(arguments, part):
    """Encode a part; at the first time the second part dies after shards."""
    cache = next(a for a in arguments if a.startswith("--cache_folder="))
    marker = pathlib.Path(cache.partition("=")[2]).parent / KILLED
    extraction.SHARD_BYTES = 1  # a recording each
    if part[0] == 1 and not marker.exists():
        write = FeatureStore.write

        def write_and_die(store, states):
            if len(list(store.folder.glob("*.safetensors"))) >= SHARDS:
                marker.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)
            write(store, states)

        FeatureStore.write = write_and_die
    child.encode_one(arguments, part)


def stored(folder):
    """Return recording -> bytes of its hidden states; none is there twice."""
    found = {}
    for path in pathlib.Path(folder).glob("*/*.safetensors"):
        with safe_open(path, framework="pt") as shard:
            for name in shard.keys():
                assert name not in found
                found[name] = shard.get_tensor(name).numpy().tobytes()
    return found


def encode(plan, parts):
    """Encode for the first runs of a plan."""
    local = launcher.LocalLauncher(encode_jobs=parts)
    local.encode(launcher._encodings(plan, plan.runs))


def test_a_killed_part_goes_on_and_the_store_is_the_same(
    table_command, tmp_path, monkeypatch
):
    file, _, *options = table_command(tmp_path)
    options = [o for o in options if not o.startswith("--cache_folder")]
    plans = []
    for name in ("one", "parts"):
        cache = f"--cache_folder={tmp_path / name / 'cache'}"
        out = tmp_path / name / "out"
        plans.append(read_plan(file, [*options, cache], None, out))
    encode(plans[0], 1)
    monkeypatch.setattr(processes, "encode_one", killed_once)
    encode(plans[1], 2)
    assert (tmp_path / "parts" / KILLED).exists()
    one, parts = (stored(tmp_path / n / "cache") for n in ("one", "parts"))
    assert len(one) >= 60 and one == parts
