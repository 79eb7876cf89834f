"""Corpora whose file names state label, speaker and further facts.

A corpus file describes its names with `FileNames`; reading them is common.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from speechbrain.utils.logger import get_logger

from data_prep.corpus import Utterance, existing_folder, first_few, refuse_list
from modules.errors import BadInput

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class FileNames:
    """How a corpus names its files.

    Arguments
    ---------
    corpus : str
        Name of the corpus, for messages.
    example : str
        A path of the corpus below its folder.
    pattern : str
        Regular expression of the end of a path without ``.wav``. Its groups
        are ``label``, ``speaker`` and facts of any other name.
    codes : dict
        Group -> code in the name -> what it means; or the collection of the
        codes, if they mean themselves. Other codes are refused.
    folds : dict, optional
        Speaker -> fold, from 1. By default whole speakers are dealt into
        folds.
    files : str
        Where the recordings are, as for `pathlib.Path.glob`.
    facts : callable, optional
        Returns `Utterance.extra`, given group -> meaning. By default it is
        all groups but label and speaker.

    Example
    -------
    >>> names = FileNames(
    ...     corpus="SAVEE",
    ...     example="DC/a01.wav",
    ...     pattern=r"(?P<speaker>[A-Z]{2})/(?P<label>[a-z]+)\\d\\d",
    ...     codes={"label": {"a": "anger"}},
    ...     folds={"DC": 1},
    ... )
    >>> names.decode("data/DC/a01")
    {'speaker': 'DC', 'label': 'anger'}
    """

    corpus: str
    example: str
    pattern: str
    codes: Mapping[str, Mapping[str, Any] | Collection[str]]
    folds: Mapping[str, int] | None = None
    files: str = "**/*"
    facts: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    def read(
        self,
        data_folder: str | os.PathLike | None,
        csv_file: str | os.PathLike | None = None,
    ) -> list[Utterance]:
        """Read all utterances.

        Arguments
        ---------
        data_folder : str or pathlib.Path
            The folder of the corpus.
        csv_file : None
            No list is needed.

        Returns
        -------
        list of Utterance
            Sorted by id, the name of the file. Files with other names are
            left out, with a line in the log.

        Raises
        ------
        BadInput
            If no file is named as the corpus is, or a name has a code that
            the corpus does not have.
        """
        refuse_list(csv_file, self.corpus)
        what = f"{self.corpus}, with files such as {self.example}"
        folder = existing_folder(data_folder, what)
        utterances, others = [], []
        for path in sorted(folder.glob(self.files)):
            if path.suffix.lower() != ".wav" or path.name.startswith("."):
                continue
            meaning = self.decode(path.with_suffix("").as_posix())
            if meaning is None:
                others.append(path.name)
                continue
            wav = path.relative_to(folder).as_posix()
            utterances.append(self._utterance(path.stem, wav, meaning))
        if not utterances:
            found = f", but {first_few(others)}" if others else ""
            raise BadInput(
                f"The folder {folder} is not {self.corpus}, it has no file "
                f"such as {self.example}{found}: set data_folder to the folder "
                f"that contains {what}."
            )
        if others:
            logger.warning(
                "%d files in %s are not named like %s's and are left out: %s.",
                *(len(others), folder, self.corpus, first_few(others)),
            )
        return sorted(utterances, key=lambda utterance: utterance.id)

    def decode(self, path: str) -> dict[str, Any] | None:
        """Return what a path without ``.wav`` means, None for another name.

        Raises
        ------
        BadInput
            If a code is unknown.
        """
        match = re.fullmatch(rf"(?:.*/)?{self.pattern}", path, re.DOTALL)
        if not match:
            return None
        meaning = match.groupdict()
        known = {"speaker": self.folds} if self.folds else {}
        for group, codes in (known | dict(self.codes)).items():
            code = meaning[group]
            if code not in codes:
                raise BadInput(
                    f"The name of {path}.wav has the {group} {code}, which "
                    f"{self.corpus} does not have (it has "
                    f"{first_few(codes, 12)}): correct the name, or take the "
                    "file out of the folder."
                )
            if group in self.codes and isinstance(codes, Mapping):
                meaning[group] = codes[code]
        return meaning

    def _utterance(self, name, wav, meaning):
        """Return the utterance of a name."""
        extra = {
            key: value
            for key, value in meaning.items()
            if key not in ("label", "speaker")
        }
        return Utterance(
            id=name,
            wav=wav,
            label=meaning["label"],
            speaker=meaning["speaker"],
            fold=self.folds[meaning["speaker"]] if self.folds else None,
            extra=self.facts(meaning) if self.facts else extra,
        )
