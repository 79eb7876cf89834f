"""Reading the JSON manifests that `data_prep` writes."""

import json
import pathlib

from modules.errors import BadInput

# Stands for the data folder in a manifest, as in SpeechBrain's recipes.
DATA_ROOT = "{data_root}"


def read_manifest(
    path: str | pathlib.Path, data_folder: str | pathlib.Path | None = None
) -> dict[str, dict]:
    """Return the entries of a manifest, the paths of their audio filled in.

    Arguments
    ---------
    path : str or pathlib.Path
        A JSON manifest.
    data_folder : str or pathlib.Path
        Takes the place of ``{data_root}`` at the begin of a path; other
        braces are left alone. None: the current folder.

    Returns
    -------
    entries : dict
        Utterance -> ``wav``, ``label``, ``speaker``, ``duration``, ``sha256``
        and what else the corpus offers.

    Raises
    ------
    BadInput
        If the manifest is missing or damaged.
    """
    try:
        entries = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        root = str(data_folder or ".")
        for entry in entries.values():
            if entry["wav"].startswith(DATA_ROOT):
                entry["wav"] = root + entry["wav"][len(DATA_ROOT) :]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as problem:
        raise BadInput(
            f"manifest {path} is missing or damaged ({type(problem).__name__}): "
            "delete it and start the same command again"
        ) from problem
    return entries
