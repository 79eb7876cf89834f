"""A trained head whose classifier is replaced by a logistic regression.

`refit_study.yaml` shows with it what gradient descent has left undone.
"""

import torch

from modules.errors import BadInput
from modules.files import read_json
from modules.models.graph import build, describe
from modules.models.standardization import Standardization
from modules.training.linear import LinearTrainer
from modules.training.run import find_run


class TrainedHead:
    """Makes the head of a finished run, its classifier untrained.

    All other weights are those of the run and are frozen. The values of the
    embedding are standardised before the classifier, as in
    hparams/recommended.yaml.

    Arguments
    ---------
    folder : str
        Output folder of train.py; need not exist before the head is made.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def description(self) -> dict:
        """Return the graph of the head; see `modules.models.graph.describe`."""
        graph = find_run(self.folder).graph["head"]
        return graph | {"standardization": describe(Standardization)}

    def __call__(self, **sizes) -> torch.nn.Module:
        """Return the head for the sizes of encoder and classes."""
        head = build(self.description())(**sizes)
        kept = {
            name: weights
            for name, weights in find_run(self.folder).weights().items()
            if not name.startswith("classifier.")
        }
        head.load_state_dict(head.state_dict() | kept)
        return head.requires_grad_(False)


class RefitTrainer(LinearTrainer):
    """Trains the classifier of a `TrainedHead`.

    Arguments
    ---------
    folder : str
        As for `TrainedHead`.
    **options
        See `modules.training.linear.LinearTrainer`.
    """

    def __init__(self, folder: str, **options):
        super().__init__(**options)
        self.folder = folder

    def train(self, run, run_opts, upstream, head, datasets):
        """Train on the recordings that the head was trained on.

        Raises
        ------
        BadInput
            If the finished run had other recordings, another division of them
            or another encoder.
        """
        first = find_run(self.folder)
        inputs = [read_json(r.folder / "inputs.json") for r in (first, run)]
        if inputs[0] != inputs[1]:
            raise BadInput(
                f"{first.folder} was trained on other recordings or another "
                f"encoder than {run.folder}: give the run of the same fold, "
                "seed and encoder"
            )
        return super().train(run, run_opts, upstream, head, datasets)
