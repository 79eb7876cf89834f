"""experiment.json: tables of other settings are never mixed in a folder."""

import json

from modules.errors import BadInput
from modules.experiments.experiment_file import ROOT
from modules.files import write_text
from modules.training.settings import ADDED


def record_plan(plan):
    """Write experiment.json, or go on in the folder of the same systems.

    Seeds and systems may be added to a table; none may change or vanish, or
    the folder's report would no longer be of what is in it.

    Raises
    ------
    BadInput
        If the folder holds another table.
    """
    path = plan.output_folder / "experiment.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["systems"]
        for name, values in before.items():
            values, now = ADDED | values, plan.resolved.get(name)
            now = None if now is None else ADDED | now
            differing = (
                [f"system '{name}', which is not asked for"]
                if now is None
                else [
                    f"'{name}' with {key} {values.get(key)} instead of "
                    f"{now.get(key)}"
                    for key in sorted({*values, *now})
                    if values.get(key) != now.get(key)
                ]
            )
            if differing:
                raise BadInput(
                    f"{plan.output_folder} holds {'; '.join(differing)}: "
                    "choose another --output_folder, or delete this one"
                )
    plan.output_folder.mkdir(parents=True, exist_ok=True)
    record = {
        "title": plan.title,
        "file": str(plan.file),
        "hparams_file": str(plan.hparams_file.relative_to(ROOT))
        if plan.hparams_file.is_relative_to(ROOT)
        else str(plan.hparams_file),
        "overrides": plan.overrides,
        "folds": plan.folds,
        "seeds": plan.seeds,
        "systems": plan.resolved,
    }
    write_text(path, json.dumps(record, indent=2) + "\n")
