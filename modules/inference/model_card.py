"""The README.md of an exported model, in the format of the HuggingFace Hub."""

import pathlib
import statistics

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from modules.inference.card_sections import (
    cross_corpus_table,
    describe_distance,
    describe_protocol,
    name_corpus,
)
from modules.inference.confidence_fit import describe_confidence
from modules.models.upstream import is_code

TEMPLATE = pathlib.Path(__file__).with_suffix(".md")

METRICS = {
    "WA": ("accuracy", "WA (accuracy)"),
    "UA": ("recall", "UA (mean recall of the classes)"),
    "macro_f1": ("f1", "macro-F1"),
}


def model_card(
    runs: list,
    name: str,
    encoder: str,
    encoder_is_public: bool,
    revision: str | None,
    include_encoder: bool,
    has_example: bool,
    licence: str | None = None,
    language: str | None = None,
    corpus_name: str | None = None,
    corpus_licence: str | None = None,
    cross_corpus: str | None = None,
) -> str:
    """Return the text of the card.

    Arguments
    ---------
    runs : list of modules.training.run.Run
        One, or the folds of an ensemble.
    name : str
        Of the model.
    encoder : str
        Names of the upstreams, with a comma between two.
    encoder_is_public : bool
        Whether those with weights have names on the Hub.
    revision : str
        Commit of the encoder on the Hub, if known.
    include_encoder, has_example : bool
        Whether the folder contains them.
    licence, language : str
        None: those of the corpus, if known.
    corpus_name, corpus_licence : str
        Of the training corpus, where the recipe does not know them.
    cross_corpus : str
        See `modules.inference.card_sections.cross_corpus_table`.
    """
    labels = runs[0].labels
    corpus = name_corpus(
        runs[0].graph["corpus"],
        runs[0].settings.get("csv_file"),
        corpus_name,
        corpus_licence,
    )
    names = encoder.split(",")
    on_hub = [n for n in names if encoder_is_public and not is_code(n)]
    card = ModelCard.from_template(
        _card_data(
            runs,
            corpus,
            name,
            on_hub[0] if on_hub else None,
            licence,
            language or corpus["language"],
        ),
        template_path=str(TEMPLATE),
        name=name,
        classes=labels,
        encoder=" beside ".join(
            f"[{n}](https://huggingface.co/{n})" if n in on_hub else n
            for n in names
        ),
        revision=revision,
        head=describe_head(runs[0].graph["head"]),
        runs=len(runs),
        corpus=corpus,
        table=_table(runs),
        protocol=describe_protocol(runs),
        distance=describe_distance(runs),
        confidence=describe_confidence(runs),
        cross_corpus=cross_corpus_table(runs, cross_corpus),
        example=f"{name}/example.wav" if has_example else "speech.wav",
        encoder_place="The encoder is in this folder (`encoder/`): no network "
        "is needed."
        if include_encoder
        else "Nothing is downloaded: the encoder is code of this folder."
        if all(map(is_code, names))
        else "The encoder is downloaded from the Hub once, without code.",
        digest=runs[0].encoder_digest,
    )
    return str(card)


def _card_data(runs, corpus, name, base_model, licence, language):
    """Return the metadata of the card."""
    return ModelCardData(
        language=language,
        license=licence or "other",
        license_name=None if licence else "terms-of-the-training-corpus",
        library_name="speechbrain",
        pipeline_tag="audio-classification",
        tags=[
            "speechbrain",
            "emotion-recognition",
            "speech-emotion-recognition",
            "audio-classification",
        ],
        datasets=[corpus["identifier"]],
        metrics=[metric for metric, _ in METRICS.values()],
        base_model=base_model,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="audio-classification",
                task_name="Speech Emotion Recognition",
                dataset_type=corpus["identifier"],
                dataset_name=f"{corpus['name']}, held-out speakers",
                metric_type=metric,
                metric_name=title,
                metric_value=round(_mean(runs, key), 4),
            )
            for key, (metric, title) in METRICS.items()
        ],
    )


def describe_head(part: dict) -> str:
    """Return the parts of a head's graph in the order of the computation.

    Example
    -------
    >>> describe_head({"class": "a.Head", "pooling": {"class": "a.Mean"}})
    '`Mean`'
    """
    if "parts" in part:
        return "; ".join(
            f"{name}: {describe_head(own)}"
            for name, own in part["parts"].items()
        )
    inner = [describe_head(v) for v in part.values() if isinstance(v, dict)]
    plain = [
        f"{key} {value}"
        for key, value in part.items()
        if key != "class" and not isinstance(value, dict) and value is not None
    ]
    if inner:
        return ", ".join(inner)
    options = f" ({', '.join(plain)})" if plain else ""
    return f"`{part['class'].rpartition('.')[2]}`{options}"


def _mean(runs, key):
    return statistics.fmean(run.results[key] for run in runs)


def _table(runs):
    """Return the Markdown table of test results."""
    lines = [
        "| test fold | seed | test utterances | WA | UA | macro-F1 |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        cells = [run.results[k] for k in ("test_fold", "seed", "n_test")]
        cells += [f"{run.results[key]:.1%}" for key in METRICS]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if len(runs) > 1:
        means = [f"{_mean(runs, key):.1%}" for key in METRICS]
        lines.append(f"| mean | | | {' | '.join(means)} |")
    return "\n".join(lines)
