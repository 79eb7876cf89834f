"""Small corpora in the layout of the real ones, made in code."""

import hashlib
import pathlib

import numpy as np
import soundfile

# Utterances per session and class of the protocol (method of SUPERB).
COUNTS = {
    1: {"neu": 384, "hap": 278, "ang": 229, "sad": 194},
    2: {"neu": 362, "hap": 327, "ang": 137, "sad": 197},
    3: {"neu": 320, "hap": 286, "ang": 240, "sad": 305},
    4: {"neu": 258, "hap": 303, "ang": 327, "sad": 143},
    5: {"neu": 384, "hap": 442, "ang": 170, "sad": 245},
}
ANNOTATORS = (
    "C-E2:\tNeutral;\t()",
    "C-F1:\tNeutral; Frustration;\t(curious)",
    "A-E3:\tval 3; act 2; dom  2;\t()",
    "A-F1:\tval 3; act 2; dom  ;\t()",
)


def write_wav(path, seconds=0.1, rate=16000, channels=1, seed=0, **options):
    """Write noise to a wav file, or `samples` if they are given."""
    samples = options.pop("samples", None)
    if samples is None:
        shape = (round(seconds * rate), channels)
        samples = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def write_dialogue(root, session, dialogue, turns, end="\n"):
    """Write a label file and its audio.

    `turns` is a list of (turn, label), e.g. [("F000", "neu")]. The audio is
    noise that differs in its last samples: thousands of utterances in a second.
    """
    root = pathlib.Path(root)
    wav = root / f"Session{session}/sentences/wav" / dialogue
    wav.mkdir(parents=True, exist_ok=True)
    noise = write_wav(root / "noise.wav").read_bytes()
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for number, (turn, label) in enumerate(turns):
        name = f"{dialogue}_{turn}"
        lines.append(
            f"[{number}.5000 - {number}.9000]\t{name}\t{label}"
            "\t[2.5000, 3.0000, 3.5000]"
        )
        lines += [*ANNOTATORS, ""]
        unlike_others = hashlib.sha256(name.encode()).digest()
        (wav / f"{name}.wav").write_bytes(noise[:-32] + unlike_others)
    path = root / f"Session{session}/dialog/EmoEvaluation/{dialogue}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode("utf-8"))
    return path


def write_iemocap(root):
    """Write a tree of five sessions with 16 utterances each, 10 of them ours.

    Dialogue names are those that mislead a fixed position in the name.
    """
    for session in range(1, 6):
        for dialogue in (
            f"Ses0{session}F_impro05a",
            f"Ses0{session}M_script01_1b",
        ):
            write_dialogue(
                root,
                session,
                dialogue,
                [
                    ("F000", "neu"),
                    ("M000", "hap"),
                    ("F001", "exc"),
                    ("MXX0", "ang"),
                    ("M001", "sad"),
                    ("F002", "fru"),
                    ("M002", "xxx"),
                    ("FXX0", "sur"),
                ],
            )
    return pathlib.Path(root)


def write_full_iemocap(root):
    """Write a tree with the counts of the real corpus, and other labels."""
    for session, counts in COUNTS.items():
        labels = [
            # Some of the protocol's "hap" are the corpus's "exc".
            "exc" if label == "hap" and number % 3 else label
            for label, count in counts.items()
            for number in range(count)
        ]
        labels += ["fru", "xxx", "sur", "fea", "dis", "oth"] * 20
        turns = [
            (f"{'FM'[number % 2]}{number:03d}", label)
            for number, label in enumerate(labels)
        ]
        # About as many dialogues per session as the corpus has.
        for start in range(0, len(turns), 40):
            dialogue = f"Ses0{session}F_impro{start // 40:02d}"
            write_dialogue(root, session, dialogue, turns[start : start + 40])
    return pathlib.Path(root)


def write_emodb(root, listeners=True):
    """Write EmoDB's ten speakers with one file per emotion."""
    root = pathlib.Path(root)
    lines = ["Nr.\tSatz\terkannt\tnatürlich"]
    for speaker in "03 08 09 10 11 12 13 14 15 16".split():
        for emotion in "WLEAFNT":
            name = f"{speaker}a01{emotion}a.wav"
            write_wav(root / "wav" / name, seed=len(lines))
            lines.append(f"{len(lines)} \t{name}\t65,00   \t7,50\xa0  ")
    if listeners:
        (root / "erkennung.txt").write_bytes(
            "\r\n".join(lines).encode("latin-1")
        )
    return root
