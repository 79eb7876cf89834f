"""Leave one corpus out: trained on some corpora, tested on another.

python -m recipes.CROSS.study EMODB=FOLDER TUREV=FOLDER ASED=FOLDER
    --encoder_hub ENCODER [--hparams FILE ...] [--most 700] [--key=value ...]

Every system is trained on each corpus and on all but one, and tested on each
of the others: as it is, and adapted to the unlabelled recordings. Hidden
states and finished trainings are kept; the same command continues.
"""

import argparse
import collections
import copy
import hashlib
import json
import pathlib
import random
import sys

import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import infer_device

from modules.errors import BadInput, one_sentence, using
from modules.experiments.scoring import score_recordings
from modules.files import read_json, write_json
from modules.inference.adaptation import (
    SHRINKAGE,
    SKILL,
    confidence_temperature,
)
from modules.models.graph import describe
from modules.training.configuration import load_configuration, plain_values
from modules.training.linear import LinearTrainer, embed
from recipes.CROSS.shared_classes import LABELS, read_corpus, read_label_map
from recipes.CROSS.tables import write_tables

# Of the training utterances; a part of them is dev, as in every run.
_DEV_SHARE = 0.2
# Of settings: a study may go on although its files have moved.
_PLACES = ("_folder", "_file", "_hub")
_HPARAMS = ["hparams/recommended.yaml", "hparams/baseline.yaml"]


class System:
    """A linear system, its untrained head and the embeddings of the corpora.

    Arguments
    ---------
    file : str
        Hyperparameter file.
    options : list of str
        For it, as train.py takes them.
    corpora : list of recipes.CROSS.shared_classes.Corpus

    Raises
    ------
    BadInput
        If its trainer is not `LinearTrainer`.
    """

    def __init__(self, file, options, corpora):
        self.name = pathlib.Path(file).stem
        self.hparams, self.run_opts = load_configuration([file, *options])
        self.trainer = self.hparams["trainer"]
        if not isinstance(self.trainer, LinearTrainer):
            raise BadInput(
                f"{file} trains by gradient descent, which makes no difference "
                "between corpora: give a file such as hparams/recommended.yaml"
            )
        self.corpora = {corpus.name: corpus for corpus in corpora}
        labels = {e["label"] for c in corpora for e in c.entries.values()}
        self.labels = sorted(labels)
        self.upstream = self.hparams["upstream"]()
        self._datasets = self._embeddings = self._head = None

    def digest(self, trained, tested) -> str:
        """Identify a training and its tests by everything they depend on."""
        facts = [
            describe(self.hparams["head"]),
            {
                key: value
                for key, value in plain_values(self.hparams).items()
                if not key.endswith(_PLACES)
            },
            self.upstream.digest,
            [SHRINKAGE, SKILL],
            [
                [name, entry["sha256"], entry["label"], entry["speaker"]]
                for corpus in [*trained, *tested]
                for name, entry in self.corpora[corpus].entries.items()
            ],
        ]
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def load(self) -> None:
        """Encode the corpora and compute their embeddings, once."""
        if self._embeddings is not None:
            return
        encoder = CategoricalEncoder()
        encoder.expect_len(len(self.labels))
        encoder.update_from_iterable(self.labels)
        manifests = {name: c.entries for name, c in self.corpora.items()}
        progress = not self.run_opts["noprogressbar"]
        device = self.run_opts["device"] or infer_device()
        self._datasets = self.upstream.make_datasets(
            manifests, encoder, device, progress
        )
        self._head = self.hparams["head"](
            num_hidden_states=self.upstream.num_hidden_states,
            hidden_size=self.upstream.hidden_size,
            num_classes=len(self.labels),
        )
        self.trainer.check(self._head)
        self._embeddings = {
            name: embed(self._head, {name: dataset}, progress)
            for name, dataset in self._datasets.items()
        }

    def train(self, trained):
        """Train on corpora; return the head."""
        head = copy.deepcopy(self._head)
        embeddings = torch.cat([self._embeddings[name] for name in trained])
        targets = torch.cat([self._datasets[name].targets for name in trained])
        entries = [
            entry
            for name in trained
            for entry in self.corpora[name].entries.values()
        ]
        order = list(range(len(entries)))
        random.Random(self.hparams["seed"]).shuffle(order)
        count = round((1 - _DEV_SHARE) * len(order))
        self.trainer.fit_embeddings(
            head,
            embeddings[order],
            targets[order],
            [entries[place] for place in order],
            count,
        )
        return head

    def test(self, head, trained, tested) -> list[dict]:
        """Test on a corpus, as it is and adapted; return two rows.

        Utterances of classes that the training lacks are left out; the
        answers are those of the classes that the tested corpus has, as
        predict.py --labels gives them.
        """
        known = torch.cat([self._datasets[name].targets for name in trained])
        truth = self._datasets[tested].targets
        kept = torch.isin(truth, known)
        embeddings = self._embeddings[tested][kept]
        people = [e["speaker"] for e in self.corpora[tested].entries.values()]
        people = [people[place] for place in kept.nonzero()[:, 0].tolist()]
        labels = [self.labels[place] for place in truth[kept].tolist()]
        rows = []
        for adapted in (False, True):
            own = head
            if adapted:
                own = adapt(head, embeddings, known.unique().tolist())
            facts = {
                "system": self.name,
                "trained": "+".join(trained),
                "tested": tested,
                "utterances": len(labels),
                "adapted": adapted,
            }
            rows.append(facts | self._scores(own, embeddings, labels, people))
        return rows

    def _scores(self, head, embeddings, labels, speakers):
        """Return the measures of one test."""
        with torch.no_grad():
            probabilities = head.classify(embeddings).cpu().double().exp()
        found = score_recordings(
            probabilities.numpy(), labels, speakers, self.labels
        )
        own, interval = found["shared"], found["shared"]["interval"] or {}
        return {
            "classes": len(found["labels"]),
            "answered_otherwise": found["answered_otherwise"] / found["n"],
            "WA": own["WA"],
            "WA_interval": interval.get("WA"),
            "UA": own["UA"],
            "UA_interval": interval.get("UA"),
            "ECE": own["ECE"],
            "neutral_recall": own["recall"].get("neutral"),
            "mean_confidence": own["mean_confidence"],
        }


@torch.no_grad()
def adapt(head, embeddings: torch.Tensor, known: list[int]):
    """Return a copy of a head, adapted to recordings without labels.

    Arguments
    ---------
    head : modules.models.head.EmotionHead
        Mean and variance of its standardisation are estimated again; n
        recordings have the share n / (n + 5), the training the rest. The
        scores are divided by `confidence_temperature`.
    embeddings : torch.Tensor
        Of the recordings, [recordings, values].
    known : list of int
        Classes of the training.
    """
    head = copy.deepcopy(head)
    values = embeddings.double()
    mean, variance = values.mean(dim=0), values.var(dim=0, correction=0)
    head.standardization.adapt(mean, variance, len(values), SHRINKAGE)
    head.distance = None
    scores = head.classify(embeddings).cpu()[:, known]
    head.temperature = confidence_temperature(scores[None])
    return head


def trainings(names: list[str]) -> dict[tuple[str, ...], list[str]]:
    """Return what is trained and what is tested: each, and all but one.

    Example
    -------
    >>> for trained, tested in trainings(["A", "B", "C"]).items():
    ...     print("+".join(trained), tested)
    A ['B', 'C']
    B ['A', 'C']
    C ['A', 'B']
    B+C ['A']
    A+C ['B']
    A+B ['C']
    """
    found = collections.defaultdict(list)
    for name in names:
        found[(name,)] += [other for other in names if other != name]
    for left_out in names if len(names) > 2 else []:
        found[tuple(n for n in names if n != left_out)].append(left_out)
    return dict(found)


def run_system(system: System, folder: pathlib.Path) -> list[dict]:
    """Run what is not finished; return the rows of all tests."""
    rows = []
    for trained, tested in trainings(list(system.corpora)).items():
        path = folder / system.name / f"{'+'.join(trained)}.json"
        digest = system.digest(trained, tested)
        done = read_json(path) if path.is_file() else {}
        if done.get("digest") != digest:
            system.load()
            head = system.train(trained)
            own = [r for t in tested for r in system.test(head, trained, t)]
            done = {"digest": digest, "rows": own}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, done)
            print(f"{system.name} trained on {', '.join(trained)}", flush=True)
        rows += done["rows"]
    return rows


def _parser():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.CROSS.study",
        description="Train on some corpora, test on another.",
        epilog="All other options go to every system, as train.py takes them: "
        "--encoder_hub ... --cache_folder ...",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("corpora", nargs="+", metavar="NAME=FOLDER", help="or NAME=LIST.csv")
    add("--hparams", nargs="+", default=_HPARAMS, metavar="FILE")
    add("--labels", default=LABELS, help="map of labels")
    add("--most", type=int, metavar="N", help="of each corpus, a fixed draw")
    add("--output_folder", default="results/cross")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    options, others = _parser().parse_known_args(arguments)
    with one_sentence(), using(options.output_folder):
        label_map = read_label_map(options.labels)
        corpora = [
            read_corpus(argument, label_map, options.most)
            for argument in options.corpora
        ]
        if len({corpus.name for corpus in corpora}) < max(len(corpora), 2):
            raise BadInput(
                "one corpus cannot be left out: give two or more, each with "
                "its own NAME=FOLDER"
            )
        folder = pathlib.Path(options.output_folder)
        systems = [System(f, others, corpora) for f in options.hparams]
        rows = [row for s in systems for row in run_system(s, folder)]
        print(write_tables(folder, corpora, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
