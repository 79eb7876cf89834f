"""The README.md of an exported model, in the format of the HuggingFace Hub."""

import dataclasses
import statistics
import textwrap

from huggingface_hub import EvalResult, ModelCardData

from modules.models.fbank import FBANK

CITATION = """\
@inproceedings{kakouros2023speech,
  title={Speech-based emotion recognition with self-supervised models using
         attentive channel-wise correlations and label smoothing},
  author={Kakouros, Sofoklis and Stafylakis, Themos and Mo{\\v{s}}ner, Ladislav
          and Burget, Luk{\\'a}{\\v{s}}},
  booktitle={ICASSP},
  year={2023}
}"""


@dataclasses.dataclass(frozen=True)
class Corpus:
    """What a card says of the recordings.

    Attributes
    ----------
    name, identifier : str
        For people, and for the Hub.
    language : str
        None if not known.
    nature : str
        What kind of speech it is.
    restricted : str
        What to think of before publishing, or "".
    """

    name: str
    identifier: str
    language: str
    nature: str
    restricted: str = ""


CORPORA = {
    "iemocap": Corpus(
        "IEMOCAP",
        "iemocap",
        "en",
        "actors in dyadic scenes, in English",
        "IEMOCAP is under a licence for research: check it before you publish "
        "weights trained on it",
    ),
    "emodb": Corpus(
        "EmoDB", "emodb", "de", "ten actors, ten sentences, in German"
    ),
    "synthetic": Corpus(
        "the demo's synthetic corpus",
        "synthetic",
        "en",
        "espeak-ng, a speech synthesiser: no human spoke, so it knows nothing "
        "of human emotion",
    ),
    "csv": Corpus(
        "own recordings",
        "own-recordings",
        None,
        "a private corpus",
        "you need the consent of the people you recorded to publish weights "
        "trained on them",
    ),
}

METRICS = {
    "WA": ("accuracy", "WA (accuracy)"),
    "UA": ("recall", "UA (mean recall of the classes)"),
    "macro_f1": ("f1", "macro-F1"),
}

CARD = """\
---
{header}
---

# {name}

Speech emotion recognition: {classes}. A frozen encoder,
{encoder}{at_revision}, and on its hidden states a trained head: {head}, linear
classifier. {ensemble}
Trained on {corpus} ({nature}) with a
[SpeechBrain](https://speechbrain.github.io) recipe.

## Results

{table}

{results_note}

## How to use

```python
from speechbrain.inference.interfaces import foreign_class

model = foreign_class(
    source="{name}",
    pymodule_file="custom_interface.py",
    classname="EmotionClassifier",
)
out_prob, score, index, label = model.classify_file("{example}")
```

`out_prob` holds log-probabilities [1, {count}], `score` the best of them,
`label` its name. Any format that libsndfile reads, any rate, any number of
channels. Recordings of more than a minute are heard in windows of at most a
minute, whose probabilities are averaged. With the recipe's repository on the
path, `EncoderClassifier.from_hparams(source="{name}")` gives the same for
recordings of up to a minute, and `python predict.py {name} FILE ...` makes tables and pictures. Nothing is
written to the working directory; `savedir=` is not needed.
{encoder_place}

## What executes code

`foreign_class` runs `custom_interface.py`, and both it and `from_hparams` run
what `hyperparams.yaml` names: as with any model loaded this way, read the two
files first. The recipe's `predict.py` executes nothing of this folder: it
reads the plain values of `hyperparams.yaml`. Weights are safetensors, which
hold numbers alone.

## Limits and ethical notes

- It tells how a voice sounds to it, among {count} words, not what a person
  feels. Every recording gets one of them, also where none fits.
- Trained on {nature}: other languages, ages, rooms, microphones and
  spontaneous speech are not covered by the results above.
- Do not use it to judge people: at work, at school, in policing, at borders,
  in hiring, in medicine. Inferring emotions of people at work or in education
  is prohibited in the European Union, but for medical or safety reasons
  (Regulation 2024/1689, article 5).
- Ask those whom you record.
{restricted}
## Cite

```bibtex
{citation}
```
"""


def model_card(
    runs,
    name,
    encoder,
    encoder_is_public,
    revision,
    digest,
    include_encoder,
    has_example,
    licence=None,
    language=None,
):
    """Return the text of the card.

    Arguments
    ---------
    runs : list of modules.training.run.Run
        One, or the folds of an ensemble.
    name : str
        Of the model.
    encoder : str
        Name of the encoder.
    encoder_is_public : bool
        Whether that is a name on the Hub.
    revision : str
        Commit of the encoder on the Hub, if known.
    digest : str
        Of the encoder that the head was trained on.
    include_encoder, has_example : bool
        What is in the folder.
    licence, language : str
        None: what is known of the corpus.
    """
    corpus = CORPORA[runs[0].corpus]
    labels = runs[0].labels
    header = ModelCardData(
        language=language or corpus.language,
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
        datasets=[corpus.identifier],
        metrics=[metric for metric, _ in METRICS.values()],
        base_model=encoder if encoder_is_public else None,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type="audio-classification",
                task_name="Speech Emotion Recognition",
                dataset_type=corpus.identifier,
                dataset_name=f"{corpus.name}, held-out speakers",
                metric_type=metric,
                metric_name=title,
                metric_value=round(_mean(runs, key), 4),
            )
            for key, (metric, title) in METRICS.items()
        ],
    )
    one = len(runs) == 1
    text = CARD.format(
        header=header.to_yaml(),
        name=name,
        classes=", ".join(labels),
        count=len(labels),
        encoder=(
            f"[{encoder}](https://huggingface.co/{encoder})"
            if encoder_is_public
            else encoder
        ),
        at_revision=f" at revision `{revision}`" if revision else "",
        head=_head(runs[0].settings),
        ensemble=(
            ""
            if one
            else f"The probabilities of {len(runs)} heads, one per fold, are "
            "averaged."
        ),
        corpus=corpus.name,
        nature=corpus.nature,
        table=_table(runs),
        results_note=(
            "Speakers of the test fold were never heard in training."
            if one
            else "Each row is one member on speakers that it never heard. The "
            "ensemble itself has no test set here: speakers that one member "
            "never heard, another did."
        ),
        example=f"{name}/example.wav" if has_example else "speech.wav",
        encoder_place=(
            "The encoder is in this folder (`encoder/`): no network is needed."
            if include_encoder
            else "Nothing is downloaded: filter banks are computed."
            if encoder == FBANK
            else "The encoder is downloaded from the Hub once, without code."
        )
        + f"\nIts digest is `{digest[:16]}`.",
        restricted=f"- {corpus.restricted}.\n" if corpus.restricted else "",
        citation=CITATION,
    )
    return _wrap(text)


def _wrap(text):
    """Wrap paragraphs and list items; leave header, tables and code alone."""
    lines, paragraph, verbatim = [], [], False

    def close():
        if paragraph:
            indent = "  " if paragraph[0].startswith("- ") else ""
            lines.append(
                textwrap.fill(
                    " ".join(paragraph),
                    width=80,
                    subsequent_indent=indent,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
            paragraph.clear()

    for line in text.splitlines():
        fence = line.startswith(("---", "```"))
        if fence or verbatim or line.startswith(("#", "|")) or not line:
            close()
            lines.append(line)
            verbatim ^= fence
        else:
            if line.startswith("- "):
                close()
            paragraph.append(line.strip())
    close()
    return "\n".join(lines) + "\n"


def _head(settings):
    """Say what is between hidden states and classifier."""
    pooling = f"`{settings['pooling']}` pooling"
    if settings.get("layer_pooling") != "stack":
        return f"weighted layers, projection, {pooling}"
    if settings["pooling"] != "mean_corr":
        return f"{pooling} of every layer, standardised"
    number = settings.get("correlated_layer")
    layer = "the middle layer" if number is None else f"layer {number}"
    return (
        f"{pooling}: mean of every layer and correlations of {layer}, "
        "standardised"
    )


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
