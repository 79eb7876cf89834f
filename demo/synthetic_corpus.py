"""A small synthetic corpus in the layout of IEMOCAP, spoken by espeak-ng.

Content
    Five sessions, each with the voices of a woman and a man; short sentences
    without emotional words, of 1 to 3 seconds. Pitch, range, rate and
    loudness are drawn around the means of an emotion; the emotions overlap.
    It shows that the recipe works; results on it mean nothing for human emotion.
Licence
    None of its own; the synthesiser, espeak-ng, is under GPL-3.0-or-later.
Source
    python -m demo.synthetic_corpus FOLDER
"""

import argparse

import numpy as np
import soundfile
from scipy.signal import resample_poly
from tqdm import tqdm

from modules.errors import one_sentence
from modules.files import make_whole
from modules.speech_synthesis import PARAMETERS, Espeak

SAMPLE_RATE = 16000
MARKER = "SYNTHETIC.txt"

VOICES = {
    f"Ses0{session}{letter}": f"en-us+{letter.lower()}{session}"
    for session in range(1, 6)
    for letter in "FM"
}
DIALOGUES = ("F_impro01", "F_impro05a", "M_impro02", "M_script01_1b")

# espeak-ng's own units: pitch, range 0 to 100, rate in words per minute,
# volume 0 to 200, but it clips from about 130 on.
MEANS = {
    "neu": (42, 42, 160, 55),
    "hap": (75, 80, 180, 70),
    "ang": (56, 60, 215, 100),
    "sad": (20, 15, 122, 32),
}
DEVIATIONS = (8, 12, 12, 9)
LOWEST = (0, 0, 90, 15)
HIGHEST = (99, 100, 260, 120)

# Label in the corpus -> whose means, what annotators call it, valence and
# activation. What the protocol ignores sounds like a neighbour.
LABELS = {
    "neu": ("neu", "Neutral", 3, 2),
    "hap": ("hap", "Happiness", 4, 4),
    "exc": ("hap", "Excited", 5, 4),
    "ang": ("ang", "Anger", 1, 4),
    "sad": ("sad", "Sadness", 2, 1),
    "fru": ("ang", "Frustration", 2, 3),
    "sur": ("hap", "Surprise", 3, 4),
    "fea": ("sad", "Fear", 2, 3),
    "dis": ("ang", "Disgust", 1, 3),
    "oth": ("neu", "Other", 3, 3),
    "xxx": ("neu", "Neutral", 3, 2),
}
IGNORED = ("fru", "xxx", "sur", "fea", "dis", "oth")

SENTENCES = (
    "The bus leaves at seven.",
    "It is on the table.",
    "They are in the kitchen.",
    "Put the box over there.",
    "The shop opens at nine.",
    "I will call you tomorrow.",
    "She is on the telephone.",
    "We have two more rooms.",
    "You can take the next train.",
    "The paper is in the second drawer.",
    "He went to the station this morning.",
    "There are five chairs in the room.",
    "The letter came on Wednesday.",
    "I left my coat in the car.",
    "The window is next to the door.",
    "We can meet in front of the library.",
    "The number is on the other side.",
    "They said it would be about ten.",
)

# Like a quiet room. Loudness would be lost in encoders that normalise the
# waveform, did it not stand against something.
NOISE_LEVEL = 3e-3

RESOURCE_FORK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(range(256))


def make_corpus(folder, utterances_per_class_and_speaker=6, seed=0):
    """Make the corpus, unless it is there already.

    Arguments
    ---------
    folder : str or pathlib.Path
        Where the corpus goes, in place of IEMOCAP_full_release.
    utterances_per_class_and_speaker : int
        For each of the four classes and ten speakers.
    seed : int
        The same seed gives the same bytes.

    Returns
    -------
    folder : pathlib.Path
        The finished corpus.

    Raises
    ------
    BadInput
        If something else is in the folder.

    Example
    -------
    >>> make_corpus("demo_corpus")  # doctest: +SKIP
    """
    return make_whole(
        folder,
        MARKER,
        _describe(utterances_per_class_and_speaker, seed),
        lambda new: _write(new, utterances_per_class_and_speaker, seed),
    )


def _describe(utterances_per_class_and_speaker, seed):
    """Return the description of the corpus, which identifies its settings."""
    rows = [
        f"{label}: " + ", ".join(map("{} {}".format, PARAMETERS, means))
        for label, means in {**MEANS, "deviation": DEVIATIONS}.items()
    ]
    return "\n".join(
        (
            "Synthetic speech made by espeak-ng, in the layout of IEMOCAP.",
            "No human spoke or listened: labels and annotators are",
            "made up, and results on it say nothing about human emotion.",
            "",
            f"seed: {seed}",
            "utterances per class and speaker: "
            f"{utterances_per_class_and_speaker}",
            f"voices: {', '.join(VOICES.values())}",
            *rows,
            "",
        )
    )


def _write(root, utterances_per_class_and_speaker, seed):
    """Write all sessions."""
    rng = np.random.default_rng(seed)
    dialogues = {
        f"Ses0{session}{name}": turns
        for session in range(1, 6)
        for name, turns in _deal(rng, utterances_per_class_and_speaker).items()
    }
    progress = tqdm(
        total=sum(map(len, dialogues.values())),
        desc="synthetic corpus",
        unit="utt",
    )
    with Espeak(seed) as espeak, progress:
        for dialogue, turns in dialogues.items():
            _write_dialogue(root, dialogue, turns, rng, espeak, progress)
    for session in range(1, 6):
        _write_distractions(root / f"Session{session}/dialog/EmoEvaluation")


def _deal(rng, utterances_per_class_and_speaker):
    """Deal the turns of a session, (letter, label) each, to its dialogues."""
    turns = [
        # Half of what the protocol calls "hap" is the corpus's "exc".
        (letter, "exc" if label == "hap" and number % 2 else label)
        for letter in "FM"
        for label in MEANS
        for number in range(utterances_per_class_and_speaker)
    ]
    turns += [("FM"[i % 2], label) for i, label in enumerate(IGNORED)]
    turns = [turns[i] for i in rng.permutation(len(turns))]
    return {
        name: turns[number :: len(DIALOGUES)]
        for number, name in enumerate(DIALOGUES)
    }


def _write_dialogue(root, dialogue, turns, rng, espeak, progress):
    """Write the label file and the audio of a dialogue."""
    session = dialogue[:5]
    folder = root / f"Session{session[-1]}"
    wavs = folder / "sentences" / "wav" / dialogue
    wavs.mkdir(parents=True)
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    counts = {"F": 0, "M": 0}
    start = 0.0
    for letter, label in turns:
        name = f"{dialogue}_{letter}{counts[letter]:03d}"
        counts[letter] += 1
        waveform = _speak(rng, espeak, VOICES[session + letter], label)
        soundfile.write(
            wavs / f"{name}.wav", waveform, SAMPLE_RATE, subtype="PCM_16"
        )
        start += rng.uniform(0.3, 1.5)
        end = start + len(waveform) / SAMPLE_RATE
        lines += _annotate(rng, f"[{start:.4f} - {end:.4f}]", name, label)
        start = end
        progress.update()
    path = folder / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _speak(rng, espeak, voice, label):
    """Speak a sentence in a manner drawn for a label; int16 at 16 kHz."""
    means = MEANS[LABELS[label][0]]
    values = np.clip(rng.normal(means, DEVIATIONS), LOWEST, HIGHEST)
    sentence = SENTENCES[rng.integers(len(SENTENCES))]
    samples = espeak.speak(voice, sentence, values.round().astype(int))
    waveform = samples / 32768
    if espeak.sample_rate != SAMPLE_RATE:
        waveform = resample_poly(waveform, SAMPLE_RATE, espeak.sample_rate)
    waveform += rng.normal(0, NOISE_LEVEL, len(waveform))
    return (np.clip(waveform, -1, 1) * 32767).round().astype(np.int16)


def _annotate(rng, times, name, label):
    """Return the lines of an utterance, as many annotators agree as must."""
    _, emotion, valence, activation = LABELS[label]
    second = LABELS[rng.choice(list(LABELS))][1]
    votes = [emotion, emotion, second]
    if label == "xxx":
        votes = ["Neutral", "Frustration", "Sadness"]
    votes = [votes[i] for i in rng.permutation(3)]
    ratings = np.clip(
        (valence, activation, 3) + rng.integers(-1, 2, (2, 3)), 1, 5
    )
    means = ", ".join(f"{mean:.4f}" for mean in ratings.mean(axis=0))
    letter = name[-4]
    own = emotion if emotion == second else f"{emotion}; {second}"
    return [
        f"{times}\t{name}\t{label}\t[{means}]",
        *(f"C-E{i}:\t{vote};\t()" for i, vote in enumerate(votes, 1)),
        f"C-{letter}1:\t{own};\t()",
        *(
            # Two blanks after dom, as in IEMOCAP.
            f"A-E{i}:\tval {val}; act {act}; dom  {dom};\t()"
            for i, (val, act, dom) in enumerate(ratings, 1)
        ),
        "",
    ]


def _write_distractions(folder):
    """Add to the label files what lies beside them in real copies."""
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        for name in ("Attribute", "Categorical", "Self-evaluation"):
            (folder / name).mkdir(exist_ok=True)
            copy = f"{path.stem}_{name[0].lower()}.txt"
            (folder / name / copy).write_text(text, encoding="utf-8")
    first = min(folder.glob("*.txt"))
    first.with_name(f"._{first.name}").write_bytes(RESOURCE_FORK)


def main(arguments=None):
    """Make the corpus from the command line."""
    parser = argparse.ArgumentParser(
        description="Make a small synthetic corpus in the layout of IEMOCAP."
    )
    parser.add_argument("folder", help="where the corpus goes")
    parser.add_argument(
        "--utterances",
        type=int,
        default=6,
        metavar="N",
        help="per class and speaker (default: 6)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    options = parser.parse_args(arguments)
    with one_sentence():
        folder = make_corpus(options.folder, options.utterances, options.seed)
    print(f"{folder}: synthetic speech by espeak-ng, see {MARKER} in it")


if __name__ == "__main__":
    main()
