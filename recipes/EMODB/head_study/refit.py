"""A trained head whose classifier is found anew: what training left undone.

For `refit_study.yaml` alone: none of it is part of what is offered.
"""

from modules.models.head import EmotionHead
from modules.training.run import Run


class TrainedHead(EmotionHead):
    """The head of a finished run, with its own classifier taken away.

    Arguments
    ---------
    run : str
        Output folder of train.py.
    layers, width, classes : int
        See `modules.models.head.EmotionHead`.
    """

    def __init__(self, run, layers, width, classes):
        run = Run(run)
        super().__init__(
            **run.head_arguments()
            | {"layers": layers, "width": width, "classes": classes}
            | {"standardize": True}
        )
        parts = {
            name: value
            for name, value in run.weights.items()
            if not name.startswith("classifier.")
        }
        self.load_state_dict(self.state_dict() | parts)
        self.requires_grad_(False)
