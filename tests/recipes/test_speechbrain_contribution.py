"""The contribution to SpeechBrain is the same model on the same splits."""

import functools
import re
import shutil
import types

import pytest
import soundfile
import torch
from conftest import ENCODERS, ROOT
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.inference.classifiers import EncoderClassifier
from torch import nn

from data_prep.corpus import Utterance
from data_prep.split import split
from modules.models.embedding import Embedding
from modules.models.encoder import FrozenEncoder
from modules.models.head import EmotionHead
from modules.models.layer_pooling import LayerPooling
from modules.models.pooling import AttentiveCorrelationPooling
from recipes.speechbrain.pooling_block import pooling_block
from recipes.speechbrain.templates import train_with_correlation as script
from recipes.speechbrain.templates.split_session import split_session

FOLDER = ROOT / "recipes/speechbrain"
YAML = FOLDER / "templates/train_with_correlation.yml"
SCRIPT = FOLDER / "templates/train_with_correlation.py"

# Whisper is left out of the contribution.
WAVEFORM_ENCODERS = [e for e in ENCODERS if e[0] != "whisper"]


@pytest.fixture
def contributed(monkeypatch):
    """Give the installed SpeechBrain the contributed poolings."""
    import speechbrain.nnet.pooling as module

    names = {"torch": torch, "nn": nn, "F": nn.functional}
    exec(pooling_block(), names)
    for name in ("CorrelationPooling", "AttentiveCorrelationPooling"):
        monkeypatch.setattr(module, name, names[name], raising=False)


@pytest.fixture
def utterances(tmp_path):
    """Write noise of three lengths; return its paths."""
    generator = torch.Generator().manual_seed(1)
    paths = {}
    for name, samples in {"a": 16000, "b": 7000, "c": 11111}.items():
        paths[name] = tmp_path / f"{name}.wav"
        noise = 0.1 * torch.randn(samples, generator=generator)
        soundfile.write(paths[name], noise.numpy(), 16000)
    return paths


@pytest.fixture
def load(contributed, encoder_folder, tmp_path):
    """Return a function that loads the contributed YAML on an encoder."""

    def load_on(family, layer_norm, **overrides):
        overrides = {
            "ssl_hub": encoder_folder(family, layer_norm),
            "ssl_folder": str(tmp_path / "ssl"),
            "feature_folder": str(tmp_path / "features"),
            "data_folder": str(tmp_path),
            "output_folder": str(tmp_path / "run"),
            "feature_dtype": "float32",
            "projection_size": 12,
            **overrides,
        }
        with open(YAML, encoding="utf-8") as file:
            return load_hyperpyyaml(file, overrides)

    return load_on


def make_brain(hparams):
    """Make the contributed Brain, with weights that are not the initial ones."""
    layer_sum = script.LayerSum(hparams["ssl_config"].num_hidden_layers + 1)
    torch.manual_seed(2)
    nn.init.normal_(layer_sum.weights)
    hparams["checkpointer"].add_recoverable("layer_sum", layer_sum)
    return script.EmotionBrain(
        modules={"layer_sum": layer_sum, **hparams["modules"]},
        hparams=hparams,
        run_opts={"device": "cpu"},
        checkpointer=hparams["checkpointer"],
    )


def make_batch(hparams, utterances):
    """Encode utterances with the contributed item and pad them."""
    encode = script.make_encode_item(hparams, "cpu")
    return PaddedBatch(
        [
            {"id": name, "hidden_states": encode(name, str(path))}
            for name, path in utterances.items()
        ]
    )


def log_probabilities(brain, batch):
    """Return what the contributed Brain predicts."""
    brain.modules.eval()
    with torch.no_grad():
        return brain.compute_forward(batch, script.sb.Stage.TEST)


def our_head(brain, hparams):
    """Make our head with the weights of the contribution."""
    size = hparams["projection_size"]
    head = EmotionHead(
        hparams["ssl_config"].num_hidden_layers + 1,
        hparams["ssl_config"].hidden_size,
        hparams["out_n_neurons"],
        functools.partial(
            Embedding,
            layer_pooling=LayerPooling,
            projection=functools.partial(nn.Linear, out_features=size),
            pooling=AttentiveCorrelationPooling,
            channel_dropout=hparams["channel_dropout"],
        ),
    ).eval()
    theirs = brain.modules
    with torch.no_grad():
        (scores,) = head.embedding.layer_pooling.parameters()
        scores.copy_(theirs["layer_sum"].weights)
    head.embedding.projection.load_state_dict(
        theirs["projection"].w.state_dict()
    )
    head.embedding.pooling.load_state_dict(theirs["pooling"].state_dict())
    head.classifier.load_state_dict(theirs["classifier"].w.state_dict())
    return head


@pytest.mark.parametrize("family, layer_norm", WAVEFORM_ENCODERS)
def test_the_encoder_is_ours(load, utterances, family, layer_norm):
    hparams = load(family, layer_norm)
    encode = script.make_encode_item(hparams, "cpu")
    ours = FrozenEncoder(hparams["ssl_hub"])
    for name, path in utterances.items():
        wav, _ = soundfile.read(path, dtype="float32")
        expected, _ = ours(torch.from_numpy(wav)[None])
        states = encode(name, str(path))  # [frames, layers, size]
        assert torch.equal(states, expected.squeeze(1).movedim(0, 1))
        # The second call reads the file.
        assert torch.equal(encode(name, "no such file"), states)


@pytest.mark.parametrize("family, layer_norm", WAVEFORM_ENCODERS)
def test_the_head_is_ours(load, utterances, family, layer_norm):
    hparams = load(family, layer_norm)
    brain = make_brain(hparams)
    batch = make_batch(hparams, utterances)
    head = our_head(brain, hparams)
    states, lengths = batch.hidden_states
    with torch.no_grad():
        ours = head(states.movedim(2, 0), lengths)
        features = head.embedding.frames(states.movedim(2, 0))
        theirs = brain.modules.projection(brain.modules.layer_sum(states))
    assert lengths.min() < 1
    assert torch.equal(theirs, features)
    assert torch.equal(log_probabilities(brain, batch), ours)


def test_channel_dropout_only_in_training(load, utterances):
    hparams = load("wavlm", True, channel_dropout=0.9)
    brain = make_brain(hparams)
    batch = make_batch(hparams, utterances)
    expected = log_probabilities(brain, batch)
    assert torch.equal(log_probabilities(brain, batch), expected)
    trained = brain.compute_forward(batch, script.sb.Stage.TRAIN)
    assert not torch.allclose(trained, expected)


@pytest.mark.parametrize("seed", [1, 1986])
@pytest.mark.parametrize("session", [1, 2, 3, 4, 5])
def test_the_splits_are_ours(session, seed):
    ours, theirs = [], {str(i): [] for i in range(1, 11)}
    for number in range(1, 6):
        for index in range(20 + 3 * number):
            letter = "FM"[index % 2]
            name = f"Ses0{number}F_impro{index:02d}_{letter}000"
            speaker = f"Ses0{number}{letter}"
            ours.append(Utterance(name, f"{name}.wav", "neu", speaker, number))
            theirs[str(2 * number - index % 2)].append(
                [f"/data/Session{number}/{name}.wav", "neu", letter]
            )
    expected = split(ours, session, "random", seed)
    expected["valid"] = expected.pop("dev")
    # The order of a folder's files must make no difference.
    for part in theirs.values():
        part.reverse()
    found = split_session(theirs, session, seed)
    assert found.keys() == expected.keys()
    for name, part in found.items():
        ids = [path.rpartition("/")[2][: -len(".wav")] for path, *_ in part]
        assert ids == [utterance.id for utterance in expected[name]]


def test_an_unknown_session_is_refused():
    with pytest.raises(ValueError, match="1 to 5, not 6"):
        split_session({"1": []}, 6, seed=1)


def test_every_key_of_the_yaml_is_used():
    yaml = YAML.read_text(encoding="utf-8")
    code = SCRIPT.read_text(encoding="utf-8")
    keys = set(re.findall(r"^(\w+):", yaml, re.M)) - {"__set_seed"}
    referenced = set(re.findall(r"<(\w+)[>.]", yaml))
    in_code = set(re.findall(r'hparams\["(\w+)"\]', code))
    in_code |= set(re.findall(r"(?:hparams|modules)\.(\w+)", code))
    in_code |= {f"{n}_annotation" for n in ("train", "valid", "test")}
    assert keys <= referenced | in_code
    # And the script reads nothing else.
    run_time = {"modules"} | {"layer_sum", "train", "eval"}
    assert in_code - run_time <= keys


@pytest.fixture
def pretrained(load, utterances, tmp_path):
    """Save what is trained; load it with SpeechBrain's parts alone."""
    hparams = load("wavlm", True)
    brain = make_brain(hparams)
    saved = brain.checkpointer.save_checkpoint()
    folder = tmp_path / "pretrained"
    folder.mkdir()
    for name in ("layer_sum", "projection", "pooling", "classifier"):
        shutil.copy(saved.path / f"{name}.ckpt", folder)
    shutil.copy(
        FOLDER / "pretrained/hyperparams.yml", folder / "hyperparams.yaml"
    )
    labels = script.sb.dataio.encoder.CategoricalEncoder()
    labels.update_from_iterable(["ang", "hap", "neu", "sad"])
    labels.expect_len(4)
    labels.save(folder / "label_encoder.txt")
    predictor = EncoderClassifier.from_hparams(
        source=str(folder),
        savedir=str(folder),
        overrides={
            "pretrained_path": str(folder),
            "ssl_hub": hparams["ssl_hub"],
            "projection_size": hparams["projection_size"],
        },
    )
    predictor.hparams.label_encoder.expect_len(4)
    waves = {
        name: torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        for name, path in utterances.items()
    }
    expected = {
        name: log_probabilities(
            brain, make_batch(hparams, {name: utterances[name]})
        )
        for name in utterances
    }
    return types.SimpleNamespace(
        predictor=predictor, waves=waves, expected=expected
    )


def test_pretrained_use_of_one_utterance(pretrained):
    for name, wave in pretrained.waves.items():
        output, score, index, label = pretrained.predictor.classify_batch(
            wave[None]
        )
        torch.testing.assert_close(
            output, pretrained.expected[name], atol=1e-5, rtol=0
        )
        assert label == [["ang", "hap", "neu", "sad"][int(index)]]
        assert score == output.max()


def test_pretrained_use_of_a_padded_batch_is_wrong(pretrained):
    """SpeechBrain's fault: `compute_features` is called without lengths."""
    waves = pretrained.waves
    batch = nn.utils.rnn.pad_sequence(list(waves.values()), batch_first=True)
    lengths = torch.tensor([len(w) for w in waves.values()]) / batch.shape[1]
    output, *_ = pretrained.predictor.classify_batch(batch, lengths)
    difference = output - torch.cat(list(pretrained.expected.values()))
    worst = dict(zip(waves, difference.abs().amax(dim=1)))
    # The longest utterance has no padding and is right.
    assert worst["a"] < 1e-5
    assert worst["b"] > 1e-3 and worst["c"] > 1e-3
