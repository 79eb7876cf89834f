"""What the card of a model states, for the page."""

from __future__ import annotations

import os
import pathlib
from typing import Any, NamedTuple

from modules.errors import printable
from modules.files import read_text

_MOST_CARD = 2**20


class Facts(NamedTuple):
    """What a model's card states.

    Attributes
    ----------
    name, corpus, language, encoder : str
        "" if the card does not state it.
    results : list of tuple
        (metric, value).
    """

    name: str = ""
    corpus: str = ""
    language: str = ""
    encoder: str = ""
    results: list[tuple[str, float]] = []


def read_facts(folder: str | os.PathLike) -> Facts:
    """Return what the card in a model's folder states; nothing of it is run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Of a model; a damaged or missing card states nothing.
    """
    from huggingface_hub import ModelCard

    try:
        text = read_text(pathlib.Path(folder) / "README.md", _MOST_CARD)
        data: Any = ModelCard(text, ignore_metadata_errors=True).data
    except Exception:  # of any class, for a text of any content
        return Facts()
    results = [r for r in data.eval_results or [] if _is_share(r.metric_value)]
    corpus = _text(results[0].dataset_name).partition(",")[0] if results else ""
    return Facts(
        _text(getattr(data, "model_name", "")),
        corpus,
        _language(getattr(data, "language", "")),
        _text(getattr(data, "base_model", "")),
        [(_text(r.metric_name), float(r.metric_value)) for r in results[:2]],
    )


def _text(value: Any) -> str:
    """Return a short text, or "" for anything else."""
    return printable(value[:200]) if isinstance(value, str) else ""


def _is_share(value: Any) -> bool:
    """Return whether a value lies between 0 and 1."""
    return isinstance(value, int | float) and 0 <= value <= 1


def _language(code: Any) -> str:
    """Return the name of a language by its code."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    if isinstance(code, list):
        code = code[0] if code else ""
    return LANGUAGES.get(_text(code), _text(code)).title()
