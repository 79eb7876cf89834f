r"""Emotion over time, judged: where in a recording does the emotion lie?

    python -m recipes.PIECEWISE.over_time LIST 'exported/emodb_{fold}' \
        --segments 1.5 --hop 0.25 [--jobs 4]

LIST is what `recipes.PIECEWISE.prepare` wrote. A model is exported from a run
on EmoDB, one for each fold, and predicts the recordings of the fold that it was
not trained on in segments, as ``predict.py --segments`` does. A frame of 10 ms
has the mean probability of the segments that cover it; it is emotional if
neutral is not the likeliest class.
"""

import argparse
import dataclasses
import pathlib

import numpy as np
import pandas as pd

from modules.errors import BadInput, one_sentence
from modules.inference.loading import load_model
from modules.inference.predictor import predict
from recipes.PIECEWISE.attention import frame_f1
from recipes.PIECEWISE.prepare import COLUMNS, NEUTRAL

FRAMES_PER_SECOND = 100


@dataclasses.dataclass
class Judged:
    """One recording, judged.

    Attributes
    ----------
    label : str
        The emotion of its part.
    everywhere : float
        Frame F1 of a guess that all frames are emotional.
    detection : float
        Frame F1 of emotional frames.
    emotion : float
        The same, of frames with the right emotion.
    begin, end : float
        Error of begin and end of the longest run of emotional frames, in
        seconds; NaN if there is none.
    found : float
        Share of the frames that are called emotional.
    """

    label: str
    everywhere: float
    detection: float
    emotion: float
    begin: float
    end: float
    found: float


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("list", help="piecewise.csv")
    add("models", help="folder of an exported model, with {fold} in it")
    add("--segments", type=float, default=1.5, help="seconds of a segment")
    add("--hop", type=float, default=0.25, help="from segment to segment")
    add("--jobs", type=int, help="batches at a time")
    add("--save", help="CSV file that gets a line for each recording")
    options = parser.parse_args(arguments)
    with one_sentence():
        judged = judge_all(
            options.list,
            options.models,
            segment=options.segments,
            hop=options.hop,
            jobs=options.jobs,
        )
    table = pd.DataFrame([dataclasses.asdict(j) for j in judged.values()])
    if options.save:
        table.assign(path=list(judged)).to_csv(options.save, index=False)
    print(summary(table))


def judge_all(
    csv_file: str, models: str, segment: float, hop: float, jobs: int | None
) -> dict[str, Judged]:
    """Predict and judge the recordings of a list.

    Arguments
    ---------
    csv_file : str
        What `recipes.PIECEWISE.prepare` wrote.
    models : str
        Folder of a model of each fold, with ``{fold}`` in it.
    segment, hop : float
        See `modules.inference.predictor.predict`.
    jobs : int
        Batches at a time.

    Returns
    -------
    judged : dict
        Path in the list -> `Judged`.

    Raises
    ------
    BadInput
        If the list is another one, or a model is missing or has no neutral.
    """
    rows = pd.read_csv(csv_file, dtype={"speaker": str})
    if list(rows.columns) != COLUMNS:
        raise BadInput(
            f"{csv_file} is not a list of recipes.PIECEWISE.prepare: give the "
            "piecewise.csv that it wrote"
        )
    if "{fold}" not in models:
        raise BadInput(f"{models} has no {{fold}}: give a folder for each fold")
    folder = pathlib.Path(csv_file).parent
    judged = {}
    for fold, own in rows.groupby("fold"):
        model, labels = load_model(models.format(fold=fold))
        if NEUTRAL not in labels:
            raise BadInput(
                f"{models.format(fold=fold)} has no class {NEUTRAL}: train it "
                "on EmoDB"
            )
        files = [str(folder / path) for path in own["path"]]
        answers, _ = predict(model, files, segment, hop, jobs, progress=True)
        of_file = {}
        for answer in answers:
            of_file.setdefault(answer.file, []).append(answer)
        for file, row in zip(files, own.itertuples()):
            classes = label_frames(of_file[file], labels)
            judged[row.path] = judge(classes, row.label, row.begin, row.end)
    return judged


def label_frames(answers: list, labels: list[str]) -> np.ndarray:
    """Return the likeliest class of each frame of 10 ms, [frames].

    Arguments
    ---------
    answers : list of modules.inference.predictor.Row
        The segments of one recording.
    labels : list of str
        Names of the classes.
    """
    frames = round(max(a.end for a in answers) * FRAMES_PER_SECOND)
    total = np.zeros((frames, len(labels)))
    for answer in answers:
        first, last = (round(time * FRAMES_PER_SECOND) for time in answer[1:3])
        total[first:last] += answer.log_probabilities.exp().numpy()
    # Not divided by the number of segments: the likeliest stays the same.
    return np.array(labels)[total.argmax(axis=1)]


def judge(classes: np.ndarray, label: str, begin: float, end: float) -> Judged:
    """Judge the classes of the frames of a recording.

    Arguments
    ---------
    classes : numpy.ndarray
        Names, [frames of 10 ms].
    label : str
        The emotion of the part.
    begin, end : float
        Of the part, in seconds.

    Example
    -------
    >>> frames = np.array(
    ...     ["neutral"] * 100 + ["anger"] * 100 + ["neutral"] * 50
    ... )
    >>> found = judge(frames, "anger", 0.9, 2.0)
    >>> round(found.detection, 3), round(found.begin, 3), found.end
    (0.952, 0.1, 0.0)
    """
    inside = np.zeros(len(classes), dtype=bool)
    first, last = (round(t * FRAMES_PER_SECOND) for t in (begin, end))
    inside[first:last] = True
    emotional = classes != NEUTRAL
    start, stop = longest_run(emotional)
    errors = [
        abs(place / FRAMES_PER_SECOND - time) if stop else np.nan
        for place, time in ((start, begin), (stop, end))
    ]
    return Judged(
        label,
        frame_f1(np.ones_like(inside), inside),
        frame_f1(emotional, inside),
        frame_f1(emotional & (classes == label), inside),
        *errors,
        float(emotional.mean()),
    )


def longest_run(found: np.ndarray) -> tuple[int, int]:
    """Return the first frame of the longest run and the one behind its last.

    Example
    -------
    >>> longest_run(np.array([True, False, True, True, False]))
    (2, 4)
    """
    edges = np.flatnonzero(np.diff(np.r_[False, found, False]))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return 0, 0
    first, last = runs[(runs[:, 1] - runs[:, 0]).argmax()]
    return int(first), int(last)


def summary(table: pd.DataFrame) -> str:
    """Return the figures as text.

    Arguments
    ---------
    table : pandas.DataFrame
        A row for each recording, the columns of `Judged`.
    """
    emotional = table[table["label"] != NEUTRAL]
    neutral = table[table["label"] == NEUTRAL]
    errors = emotional[["begin", "end"]]
    lines = {
        "recordings with an emotional part": f"{len(emotional)}",
        "frame F1, emotional": f"{emotional['detection'].mean():.3f}",
        "  all frames emotional": f"{emotional['everywhere'].mean():.3f}",
        "frame F1, the right emotion": f"{emotional['emotion'].mean():.3f}",
        "error of begin, median s": f"{errors['begin'].median():.2f}",
        "error of end, median s": f"{errors['end'].median():.2f}",
        "both within 0.5 s": f"{(errors <= 0.5).all(axis=1).mean():.3f}",
        "no emotional frame": f"{errors['begin'].isna().mean():.3f}",
        "neutral recordings": f"{len(neutral)}",
        "  frames called emotional": f"{neutral['found'].mean():.3f}",
    }
    return "\n".join(f"{name:36s} {value}" for name, value in lines.items())


if __name__ == "__main__":
    main()
