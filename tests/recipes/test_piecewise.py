"""EmoDB between neutral utterances: its corpus, its oracle, its rivals."""

import collections
import csv
import itertools
import random

import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT

import train
from data_prep.emodb_prepare import read
from modules.errors import BadInput
from modules.inference.packaging import build, write_files
from modules.inference.predictor import Row
from modules.training.configuration import load_configuration
from modules.training.run import Run
from recipes.PIECEWISE import attention, attention_plot, over_time
from recipes.PIECEWISE.oracle import OracleLayer, frames_between
from recipes.PIECEWISE.prepare import draw, draw_places, main, prepare
from recipes.PIECEWISE.segments import SegmentClassifier, SegmentMeans

SPEAKERS = ("03", "08", "09", "10", "11")
EMODB = ROOT.parent / "shared/data/emodb"


@pytest.fixture(scope="module")
def emodb(tmp_path_factory):
    """Return the folder of a corpus named as EmoDB is: noise."""
    root = tmp_path_factory.mktemp("emodb")
    (root / "wav").mkdir()
    rng = np.random.default_rng(0)
    for speaker, emotion, take in itertools.product(SPEAKERS, "NWT", "abc"):
        size = rng.integers(3000, 6000)
        samples = rng.integers(-3000, 3000, size).astype("int16")
        path = root / f"wav/{speaker}a01{emotion}{take}.wav"
        soundfile.write(path, samples, 16000)
    return root


@pytest.fixture(scope="module")
def piecewise(emodb, tmp_path_factory):
    """Return the list of that corpus between its neutral utterances."""
    return prepare(emodb, tmp_path_factory.mktemp("piecewise"))


def read_rows(path):
    """Return the rows of a list."""
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines))


def test_each_utterance_stands_beside_two_of_its_speaker(emodb, piecewise):
    rows = read_rows(piecewise)
    assert len(rows) == 45
    for row in rows:
        own = row["path"][4:-4]
        names = [row["first"], row["second"], row["third"]]
        place = names.index(own)
        assert len(set(names)) == 3
        for other in set(names) - {own}:
            assert other[:2] == row["speaker"] == own[:2]
            assert other[5] == "N", "neutral"
        parts = [
            soundfile.read(emodb / f"wav/{name}.wav", dtype="int16")[0]
            for name in names
        ]
        whole, _ = soundfile.read(piecewise.parent / row["path"], dtype="int16")
        silence = np.zeros(1600, "int16")
        joined = [parts[0], silence, parts[1], silence, parts[2]]
        assert (whole == np.concatenate(joined)).all()
        begin, end = (round(float(row[k]) * 16000) for k in ("begin", "end"))
        assert (whole[begin:end] == parts[place]).all()
    folds = collections.defaultdict(set)
    for row in rows:
        folds[row["speaker"]].add(row["fold"])
    assert [folds[s] for s in SPEAKERS] == [{str(i)} for i in range(1, 6)]


def spread(utterances, places, name):
    """Return the largest difference between the numbers of three places."""
    counts = collections.Counter((name(u), places[u.id]) for u in utterances)
    return max(
        abs(counts[name(u), one] - counts[name(u), other])
        for u in utterances
        for one, other in ((0, 1), (0, 2), (1, 2))
    )


def check_places(utterances, places):
    """Check that the places of a speaker, and of its labels, are even."""
    assert spread(utterances, places, lambda u: u.speaker) <= 1
    assert spread(utterances, places, lambda u: (u.speaker, u.label)) <= 1


def test_the_places_are_even(emodb):
    utterances = read(emodb)
    places = draw_places(utterances, seed=3)
    check_places(utterances, places)
    random.Random(0).shuffle(utterances)
    assert draw_places(utterances, seed=3) == places
    assert draw_places(utterances, seed=4) != places


def test_the_labelled_utterance_is_the_second(emodb, piecewise, tmp_path):
    main([str(emodb), str(tmp_path), "--order", "middle"])
    drawn = {row["path"]: row for row in read_rows(piecewise)}
    for row in read_rows(tmp_path / "piecewise.csv"):
        assert row["second"] == row["path"][4:-4]
        names = ("first", "second", "third")
        same = drawn[row["path"]]
        assert {row[n] for n in names} == {same[n] for n in names}


def test_the_same_corpus_again_whatever_the_order(emodb, piecewise, tmp_path):
    again = prepare(emodb, tmp_path)
    assert again.read_bytes() == piecewise.read_bytes()
    for path in (tmp_path / "wav").iterdir():
        other = piecewise.parent / "wav" / path.name
        assert path.read_bytes() == other.read_bytes()
    utterances = read(emodb)
    drawn = draw(utterances, seed=3)
    random.Random(0).shuffle(utterances)
    assert draw(utterances, seed=3) == drawn
    assert draw(utterances, seed=4) != drawn


@pytest.mark.skipif(not EMODB.is_dir(), reason=f"needs EmoDB in {EMODB}")
def test_the_real_corpus():
    utterances = read(EMODB)
    drawn = draw(utterances, seed=1986)
    assert len(drawn) == 535
    assert sum(own.label != "neutral" for own, _ in drawn) == 456
    assert len({u.id for _, others in drawn for u in others}) == 79
    places = draw_places(utterances, seed=1986)
    check_places(utterances, places)
    assert sorted(collections.Counter(places.values()).values()) == [
        178,
        178,
        179,
    ]


def test_a_speaker_with_too_few_neutral_utterances(emodb, tmp_path, capsys):
    (tmp_path / "wav").mkdir()
    for path in (emodb / "wav").iterdir():
        if path.name != "08a01Nb.wav":
            (tmp_path / "wav" / path.name).symlink_to(path)
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "out")])
    words = "speaker 08 has 1 neutral utterances beside 08a01Na"
    assert words in capsys.readouterr().err


def run_small(
    csv_file,
    encoder,
    folder,
    *options,
    hparams="hparams/corr_modern",
    corpus="csv",
):
    """Train a small run and return it."""
    source = [f"--csv_file={csv_file}"] if corpus == "csv" else []
    fixed = [
        *source,
        f"--corpus={corpus}",
        f"--encoder_hub={encoder}",
        f"--cache_folder={folder.parent / 'cache'}",
        f"--output_folder={folder}",
        "--number_of_epochs=1",
        "--projection_size=8",
        "--noprogressbar",
        "--device=cpu",
    ]
    path = str(ROOT / f"{hparams}.yaml")
    train.train_fold(*load_configuration([path, *fixed, *options]))
    return Run(folder)


def test_the_oracle_reads_the_emotional_part_alone(
    piecewise, encoder_folder, tmp_path, monkeypatch
):
    read = []
    whole = OracleLayer.forward

    def record(self, hidden_states):
        read.extend(len(states) for states in hidden_states)
        return whole(self, hidden_states)

    monkeypatch.setattr(OracleLayer, "forward", record)
    run = run_small(
        piecewise,
        encoder_folder(),
        tmp_path / "run",
        hparams="recipes/PIECEWISE/oracle",
    )
    entries = [
        entry
        for split in ("train", "dev", "test")
        for entry in run.manifest(split).values()
    ]
    longest = max(float(e["end"]) - float(e["begin"]) for e in entries)
    assert max(read) <= longest * 50 + 1
    with pytest.raises(BadInput, match="does not give begin and end"):
        build([run], True, None, None, "oracle")


def test_the_oracle_needs_a_list_with_times(
    tone_corpus, encoder_folder, tmp_path
):
    with pytest.raises(BadInput, match="has no begin and end"):
        run_small(
            tone_corpus,
            encoder_folder(),
            tmp_path / "run",
            hparams="recipes/PIECEWISE/oracle",
        )


def test_frames_of_a_part():
    assert frames_between(100, 2.0, 0.5, 1.0) == slice(25, 50)
    assert frames_between(3, 3.0, 2.9, 2.99) == slice(2, 3), "at least one"


def test_means_of_segments():
    torch.manual_seed(0)
    features = torch.randn(2, 12, 5)
    lengths = torch.tensor([1.0, 7 / 12])
    pooled = SegmentMeans(5, segments=4)(features, lengths)
    assert pooled.shape == (2, 20)
    thirds = features[0].view(4, 3, 5).mean(dim=1)
    torch.testing.assert_close(pooled[0], thirds.flatten())
    first = features[1, :2].mean(dim=0)
    torch.testing.assert_close(pooled[1, :5], first)
    alone = SegmentMeans(5, segments=4)(features[1:, :7], torch.ones(1))
    torch.testing.assert_close(pooled[1:], alone)
    one = SegmentMeans(5, segments=4)(features[:1, :1], torch.ones(1))
    torch.testing.assert_close(one.view(4, 5), features[0, :1].expand(4, 5))


def test_one_segment_decides():
    classifier = SegmentClassifier(8, 2, segments=4)
    with torch.no_grad():
        classifier.linear.weight.copy_(torch.eye(2))
        classifier.linear.bias.zero_()
    values = torch.zeros(1, 8)
    values[0, 4] = 20.0
    scores = classifier(values)[0].tolist()
    assert scores[0] == pytest.approx(20.0, abs=1e-3)
    assert scores[1] == pytest.approx(np.log(4), abs=1e-5)


def test_where_attention_lies(piecewise, encoder_folder, tmp_path, capsys):
    for fold in (1, 2):
        folder = tmp_path / f"system/fold_{fold}/seed_1986"
        run_small(piecewise, encoder_folder(), folder, f"--test_fold={fold}")
    saved = str(tmp_path / "weights.npz")
    attention.main([str(tmp_path / "system"), "--save", saved])
    printed = capsys.readouterr().out.split("\n")
    attention.main([saved])
    assert printed[-13:] == capsys.readouterr().out.split("\n")[-13:]
    found = attention.load(saved)
    # Of three neutral utterances of a speaker two recordings can be the same.
    three = {
        (row["first"], row["second"], row["third"])
        for row in read_rows(piecewise)
        if row["fold"] in "12"
    }
    assert len(found["recording"]) == len(three) > 12
    for weights, inside in attention.each(found):
        assert weights.mean() == pytest.approx(1, abs=1e-2)
        assert inside.any() and not inside.all()
    with pytest.raises(SystemExit):
        attention.main([str(piecewise)[:-3] + "npz"])
    assert "give a file that --save wrote" in capsys.readouterr().err


def test_perfect_attention_and_even_attention():
    found = {
        "lengths": np.array([4, 4]),
        "begin": np.array([1, 1]),
        "end": np.array([2, 2]),
        "weights": np.array([0, 4, 0, 0, 1, 1, 1, 1.0]),
    }
    figures = attention.measure(found)
    shares, even, ratio, auc, f1, everywhere, *places = figures.values()
    assert shares == [1.0, 0.25] and even == [0.25, 0.25]
    assert ratio == [4.0, 1.0] and auc == [1.0, 0.5] and f1 == [1.0, 0.0]
    assert everywhere == [pytest.approx(2 / 5)] * 2
    # The second of four frames: one is nearer to the begin, two to the end,
    # and one is as near to the centre.
    expected = [2 / 3, 2 / 3, 5 / 6, 2 / 3, 1 / 3, 0.0]
    assert places == [[pytest.approx(value)] * 2 for value in expected]


def test_emotion_over_time_is_judged(
    emodb, piecewise, encoder_folder, tmp_path, capsys
):
    for fold in range(1, 6):
        folder = tmp_path / f"fold_{fold}"
        run = run_small(
            None,
            encoder_folder(),
            folder,
            "--pooling=mean",
            f"--test_fold={fold}",
            f"--data_folder={emodb}",
            corpus="emodb",
        )
        files = build([run], True, None, None, "noise")
        write_files(tmp_path / f"model_{fold}", files)
    saved = tmp_path / "judged.csv"
    models = str(tmp_path / "model_{fold}")
    options = ["--segments=0.5", "--hop=0.2", f"--save={saved}"]
    over_time.main([str(piecewise), models, *options])
    assert "frame F1, emotional" in capsys.readouterr().out
    rows = read_rows(saved)
    assert len(rows) == 45
    assert all(0 <= float(row["detection"]) <= 1 for row in rows)
    for wrong, words in (
        ([str(piecewise), str(tmp_path)], "has no {fold}"),
        ([str(saved), models], "is not a list of"),
    ):
        with pytest.raises(SystemExit):
            over_time.main(wrong)
        assert words in capsys.readouterr().err


def test_frames_have_the_mean_of_their_segments():
    labels = ["anger", "neutral"]
    shares = [[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]]
    rows = [
        Row("a.wav", start, start + 1.0, torch.tensor(share).log())
        for start, share in zip((0.0, 0.5, 1.0), shares)
    ]
    classes = over_time.label_frames(rows, labels)
    assert len(classes) == 200
    assert (classes[:50] == "neutral").all()
    assert (classes[50:150] == "anger").all()
    assert (classes[150:] == "neutral").all()
    found = over_time.judge(classes, "anger", 0.5, 1.5)
    assert found.detection == found.emotion == 1.0
    assert found.begin == found.end == 0.0
    assert found.everywhere == pytest.approx(2 / 3)
    other = over_time.judge(classes, "fear", 0.5, 1.5)
    assert other.detection == 1.0 and other.emotion == 0.0
    none = over_time.judge(classes[:50], "anger", 0.1, 0.2)
    assert none.detection == 0.0 and np.isnan(none.begin)


def test_the_curve_of_attention(tmp_path, capsys):
    weights = np.repeat([0.5, 2.0, 0.5], 20)
    found = {
        "recording": np.array(["a", "b"]),
        "label": np.array(["fear", "neutral"]),
        "fold": np.array([1, 1]),
        "seed": np.array([1, 1]),
        "lengths": np.array([60, 60]),
        "begin": np.array([20, 20]),
        "end": np.array([40, 40]),
        "weights": np.concatenate([weights, np.ones(60)]),
    }
    for chosen, expected in (([True, False], weights), ([False, True], 1)):
        curve = attention_plot.mean_curve(found, np.array(chosen), place=1)
        assert curve == pytest.approx(expected)
    ends = found | {"begin": np.array([0, 40]), "end": np.array([20, 60])}
    assert attention_plot.places_of(ends).tolist() == [0, 2]
    assert attention_plot.places_of(found).tolist() == [1, 1]
    first = attention_plot.mean_curve(ends, np.array([True, False]), place=0)
    assert first == pytest.approx(weights)
    path = tmp_path / "weights.npz"
    np.savez(path, **found)
    figure = tmp_path / "figure.png"
    attention_plot.main([str(figure), f"attention={path}"])
    assert figure.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        attention_plot.main([str(figure), str(path)])
    assert "has no name" in capsys.readouterr().err
