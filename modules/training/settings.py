"""The settings of a run: checked before any work starts."""

from modules.errors import BadInput
from modules.models.encoder import PRECISIONS
from modules.models.fbank import FBANK
from modules.models.head import LAYER_POOLINGS, check_pooling
from modules.models.upstream import upstream_names

# Keys that came later, and what runs without them did.
ADDED = {"average_checkpoints": 1}


def is_fine_tuning(hparams):
    """Tell whether the encoder is trained too: its features are not kept."""
    return "cache" not in hparams


def is_linear(hparams):
    """Tell whether a classifier is all that is trained."""
    return "linear_training" in hparams


def check_settings(hparams):
    """Refuse settings out of range, before any work starts.

    Raises
    ------
    BadInput
        Naming the key and what it may be.
    """
    check_pooling(hparams["pooling"])
    folds = list(range(1, hparams["number_of_folds"] + 1))
    if hparams["test_fold"] not in folds:
        raise BadInput(
            f"test_fold {hparams['test_fold']} does not exist: choose one of "
            f"{', '.join(map(str, folds))}"
        )
    if hparams["encoder_precision"] not in ("auto", *PRECISIONS):
        raise BadInput(
            f"encoder_precision '{hparams['encoder_precision']}' is unknown: "
            f"choose one of auto, {', '.join(PRECISIONS)}"
        )
    if not isinstance(hparams["seed"], int):
        raise BadInput(f"seed must be an integer, not {hparams['seed']}")
    _check_head(hparams)
    if is_linear(hparams):
        _check_linear(hparams)
    else:
        _check_updates(hparams)
    if is_fine_tuning(hparams):
        _check_fine_tuning(hparams)


def _check_head(hparams):
    """Refuse what no head can be made of."""
    layer_pooling = hparams.get("layer_pooling", "sum")
    if layer_pooling not in LAYER_POOLINGS:
        raise BadInput(
            f"layer_pooling '{layer_pooling}' is unknown: choose one of "
            f"{', '.join(LAYER_POOLINGS)}"
        )
    if not isinstance(hparams["normalize_layers"], bool):
        raise BadInput("normalize_layers must be true or false")
    channels = hparams.get("ecapa_channels", 8)
    if not isinstance(channels, int) or channels < 1 or channels % 8:
        raise BadInput(
            f"ecapa_channels must be a positive multiple of 8, not {channels}"
        )
    _check_shares(hparams, "channel_dropout", "label_smoothing")


def _check_shares(hparams, *keys):
    """Refuse what is no share of the whole."""
    for key in keys:
        value = hparams.get(key, 0)
        if not isinstance(value, int | float) or not 0 <= value < 1:
            raise BadInput(f"{key} must be a number in [0, 1), not {value}")


def _check_rates(hparams, *keys):
    """Refuse what is no learning rate."""
    for key in keys:
        value = hparams[key]
        if not isinstance(value, float) or not value > 0:
            raise BadInput(f"{key} must be a positive number, not {value}")


def _check_linear(hparams):
    """Refuse a head that has more to train than a classifier."""
    needed = {"projection_size": None, "standardize": True}
    for key, value in needed.items():
        if hparams[key] is not value:
            raise BadInput(
                f"{key} {hparams[key]}: this file trains a classifier and "
                "nothing else; projections and attention are trained by "
                "hparams/corr_*.yaml"
            )
    if hparams["pooling"] in ("attentive_corr", "ecapa_tdnn"):
        raise BadInput(
            f"pooling {hparams['pooling']} has weights of its own, and this "
            "file trains a classifier and nothing else: take "
            "hparams/corr_*.yaml"
        )
    layer = hparams.get("correlated_layer")
    if layer is not None and (not isinstance(layer, int) or layer < 1):
        raise BadInput(
            "correlated_layer must be the number of a layer, counted from 1, "
            f"or null for the middle one, not {layer}"
        )
    for key in ("train_on_dev", "choose_moments"):
        if not isinstance(hparams.get(key, False), bool):
            raise BadInput(f"{key} must be true or false")


def _check_updates(hparams):
    """Refuse what gradient descent cannot go by."""
    for key in (
        "attention_heads",
        "projection_size",
        "number_of_epochs",
        "batch_size",
        "average_checkpoints",
    ):
        value = hparams[key]
        if not isinstance(value, int) or value < 1:
            raise BadInput(f"{key} must be a positive integer, not {value}")
    if hparams["average_checkpoints"] > hparams["number_of_epochs"]:
        raise BadInput(
            f"average_checkpoints {hparams['average_checkpoints']} needs as "
            f"many epochs and number_of_epochs is "
            f"{hparams['number_of_epochs']}: train longer or average fewer"
        )
    _check_rates(hparams, "lr")


def _check_fine_tuning(hparams):
    """Refuse what only fine-tuning has."""
    if hparams["layers_used"] not in ("last", "all"):
        raise BadInput(
            f"layers_used '{hparams['layers_used']}' is unknown: choose last "
            "or all"
        )
    if not isinstance(hparams["gradient_checkpointing"], bool):
        raise BadInput("gradient_checkpointing must be true or false")
    window = hparams["whisper_window"]
    if window is not None and (not isinstance(window, int) or window < 1):
        raise BadInput(
            f"whisper_window must be a whole number of seconds or null, not "
            f"{window}"
        )
    _check_shares(hparams, "layerdrop", "mask_time", "mask_channels")
    _check_rates(hparams, "encoder_lr")
    names = upstream_names(hparams["encoder_hub"])
    if len(names) > 1 or names == [FBANK]:
        raise BadInput(
            f"encoder_hub {hparams['encoder_hub']} cannot be fine-tuned: give "
            "one pretrained encoder"
        )


def check_soft_labels(field, manifests):
    """Refuse soft labels that the corpus does not have, before encoding.

    Raises
    ------
    BadInput
        Naming a recording.
    """
    for entries in manifests.values() if field else []:
        for entry in entries.values():
            share = entry.get(field)
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise BadInput(
                    f"soft_labels: {field} is not known of {entry['wav']}, or "
                    "is no share of 0 to 1: leave soft_labels empty for this "
                    "corpus"
                )


def settings(hparams):
    """Return the plain values among the hyperparameters."""
    return {
        key: value
        for key, value in hparams.items()
        if isinstance(value, str | int | float | None)
        and key not in ("hparams_file", "overrides", "__set_seed")
    }
