"""The command line: text stays text, every wrong value is one sentence."""

import os
import pathlib

import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings, strategies as st

import train
from modules.errors import BadInput
from modules.models.pooling import MeanPooling, MeanStdPooling
from modules.training.command_line import top_level_keys
from modules.training.configuration import (
    choose,
    load_configuration,
    plain_values,
)
from modules.training.settings import CHECKS, check_settings

HPARAMS = sorted((ROOT / "hparams").glob("*.yaml"))
BASE = ["--corpus=csv", "--csv_file=x.csv", "--device=cpu"]
EVERY_FILE = pytest.mark.parametrize(
    "path", HPARAMS, ids=[path.stem for path in HPARAMS]
)


def load(*options, hparams="corr_wavlm"):
    """Load a file with options; nothing is trained."""
    path = str(ROOT / f"hparams/{hparams}.yaml")
    return load_configuration([path, *BASE, *options])


def refusal(capsys, *options, hparams="corr_wavlm"):
    """Return the sentence that train.py ends with."""
    path = str(ROOT / f"hparams/{hparams}.yaml")
    with pytest.raises(SystemExit) as stopped:
        train.main([path, *options])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.endswith("\n"), message
    assert message.count("\n") == 1, message
    return message


TEXTS = [
    "/x/iem # new",
    "R/run #2",
    "/x: y",
    "a: b",
    "(a)",
    "(1, 2)",
    "5",
    "1e-3",
    "null",
    "~",
    "true",
    "a, b",
    "{x}",
    "[1]",
    "!apply:os.getcwd",
    "!ref <seed>",
    "<seed>",
    "$HOME",
    "'a'",
    'a"b',
    "a\\nb",
    "- a",
    "? a",
    "& a",
    "* a",
    "@a",
    "%a",
    "|",
    ">",
    "2020-01-01",
    "0x10",
    "ünï",
    "a=b",
    " leading",
    "trailing ",
    "a\tb",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("separate", [False, True])
def test_a_text_stays_as_it_is(text, separate):
    keys = ["data_folder", "output_folder", "csv_file", "encoder_hub"]
    options = []
    for key in keys:
        options += [f"--{key}", text] if separate else [f"--{key}={text}"]
    path = str(ROOT / "hparams/corr_wavlm.yaml")
    hparams, _ = load_configuration([path, "--device=cpu", *options])
    for key in keys:
        assert hparams[key] == text and isinstance(hparams[key], str)


@settings(max_examples=10)
@given(text=st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_text_stays_as_it_is_or_is_refused(text):
    try:
        hparams, _ = load(f"--output_folder={text}")
    except BadInput:
        assert not text.strip() or "\0" in text
        return
    assert hparams["output_folder"] == text


@pytest.mark.parametrize("text", ["0123456", "12e4567", "1e5", "main", "true"])
def test_a_revision_of_digits_is_text(text):
    assert load(f"--encoder_revision={text}")[0]["encoder_revision"] == text


@pytest.mark.parametrize(
    "option, key, value",
    [
        ("--seed=7", "seed", 7),
        ("--lr=1e-3", "lr", 1e-3),
        ("--lr=3e-05", "lr", 3e-5),
        ("--lr=1", "lr", 1),
        ("--channel_dropout=0", "channel_dropout", 0),
        ("--normalize_layers=true", "normalize_layers", True),
        ("--encode_seconds=2", "encode_seconds", 2),
        ("--encode_seconds=null", "encode_seconds", None),
        ("--encode_seconds=0.5", "encode_seconds", 0.5),
        ("--cache_device=cpu", "cache_device", "cpu"),
        ("--cache_device=null", "cache_device", None),
        ("--encoder_revision=null", "encoder_revision", None),
    ],
)
def test_other_values_have_the_kind_of_their_key(option, key, value):
    found = load(option)[0][key]
    assert found == value and isinstance(found, bool) == (value is True)


WRONG = [
    ("--seed=abc", "--seed must be a whole number"),
    ("--seed=true", "--seed must be a whole number"),
    ("--seed=1.5", "--seed must be a whole number"),
    ("--seed=-1", "seed must be a whole number from 0"),
    ("--seed=null", "--seed must be a whole number"),
    ("--seed=[1]", "--seed must be a whole number"),
    ("--number_of_folds=1e11", "--number_of_folds must be a whole number"),
    ("--number_of_folds=100000000000", "number_of_folds must be a whole"),
    ("--number_of_folds=9" + 30 * "9", "--number_of_folds must be a whole"),
    ("--number_of_folds=0", "number_of_folds must be a whole number from 1"),
    ("--test_fold=6", "test_fold 6 does not exist: choose one of 1 to 5"),
    ("--lr=nan", "--lr must be a number"),
    ("--lr=inf", "--lr must be a number"),
    ("--lr=-1", "lr must be a number above 0"),
    ("--lr=0", "lr must be a number above 0"),
    ("--lr=fast", "--lr must be a number"),
    ("--batch_size=0", "batch_size must be a whole number from 1"),
    ("--channel_dropout=lots", "--channel_dropout must be a number"),
    ("--channel_dropout=1", "channel_dropout must be a number from 0"),
    ("--label_smoothing=1.5", "label_smoothing must be a number from 0"),
    ("--normalize_layers=3", "--normalize_layers must be true or false"),
    ("--normalize_layers=yes", "--normalize_layers must be true or false"),
    ("--dev_split=half", "dev_split must be one of random, speaker"),
    ("--cache_format=int3", "float16, bfloat16, float32, int8"),
    ("--cache_device=abc", "cache_device must be a device"),
    ("--cache_device=meta", "cache_device must be a device"),
    ("--cache_device=cuda:99", "cache_device must be a device"),
    ("--encode_seconds=-1", "encode_seconds must be a number above 0"),
    ("--encode_seconds=.nan", "encode_seconds must be a number above 0"),
    ("--encode_seconds=true", "encode_seconds must be a number above 0"),
    ("--encode_seconds=long", "encode_seconds must be a number above 0"),
    ("--encoder_precision=fp8", "encoder_precision must be one of auto"),
    ("--pooling=max", "mean, mean_std, corr, attentive_corr, ecapa_tdnn"),
    ("--ecapa_channels=12", "ecapa_channels must be a multiple of 8"),
    ("--average_checkpoints=999", "average_checkpoints 999 needs as many"),
    ("--device=foo", "--device must be a device of this machine"),
    ("--device=mps", "--device must be a device of this machine"),
    ("--device=meta", "--device must be a device of this machine"),
    ("--device=cuda:99", "--device must be a device of this machine"),
    ("--precision=fp8", "command line: argument --precision: invalid choice"),
    ("--debug_epochs=many", "argument --debug_epochs: invalid int value"),
    (
        "--grad_accumulation_factor=x",
        "argument --grad_accumulation_factor: inv",
    ),
    ("--output_folder=", "--output_folder is empty"),
    ("--output_folder=  ", "--output_folder is empty"),
    ("--output_folder", "--output_folder has no value"),
    ("--output_folder=a\0b", "--output_folder contains a null character"),
    ("--output_folder=\udcff", "--output_folder is not UTF-8"),
    ("--label_smothing=0.1", "did you mean --label_smoothing"),
    ("--__set_seed=1", "unknown key --__set_seed"),
    ("--upstream=1", "--upstream is an object of"),
    ("--poolings={}", "--poolings is an object of"),
    ("--trainer=x", "--trainer is an object of"),
    ("--head", "--head has no value"),
    ("seed=1", "not understood"),
    ("--pooling={class: os.system}", "'os.system' is not a part"),
    ("--pooling={class: modules.models.pooling.No}", "does not exist"),
    ("--pooling={class: 5}", "5 is not a part"),
    ("--pooling={class: [a]}", "is not a part"),
    ("--pooling={class: modules.models.pooling.EPS}", "is not a torch"),
    ("--pooling={x: y}", "--pooling names no class"),
    ("--pooling={class: ", "--pooling is not a mapping in YAML"),
]


@pytest.mark.parametrize("option, words", WRONG)
def test_a_wrong_option_is_one_sentence(capsys, option, words):
    base = [b for b in BASE if not option.startswith(b.partition("=")[0])]
    assert words in refusal(capsys, *base, option)


def test_an_option_that_is_given_twice_is_one_sentence(capsys):
    message = refusal(capsys, *BASE, "--seed=1", "--seed", "2")
    assert "--seed is given twice" in message
    message = refusal(capsys, *BASE, "--device=cpu")
    assert "--device is given twice" in message
    # A switch may be repeated: cross_validate.py adds it to one's own.
    assert load("--noprogressbar", "--noprogressbar")[1]["noprogressbar"]


@pytest.mark.parametrize(
    "option, words",
    [
        ("--pooling=mean", "unknown key --pooling"),
        ("--correlated_layer=-1", "correlated_layer must be a whole number"),
        ("--correlated_layer=1.5", "correlated_layer must be a whole number"),
        ("--use=best", "use 'best' is unknown: choose one of averaged"),
        ("--train_on_dev=perhaps", "--train_on_dev must be true or false"),
        ("--speaker_normalization=yes", "must be true, false or auto"),
        ("--C=0", "C must be a number above 0"),
        ("--C=much", "C must be a number above 0"),
        ("--C=true", "C must be a number above 0"),
        ("--label_smoothing=1.5", "label_smoothing must be"),
    ],
)
def test_a_wrong_option_of_linear_systems(capsys, option, words):
    assert words in refusal(capsys, *BASE, option, hparams="recommended")


@pytest.mark.parametrize(
    "option, words",
    [
        ("--layers_used=first", "layers_used must be one of last, all"),
        ("--encoder_lr=-1", "encoder_lr must be a number above 0"),
        ("--layerdrop=1.5", "layerdrop must be a number from 0 to below 1"),
        ("--gradient_checkpointing=3", "must be true or false"),
        ("--encoder_hub=fbank", "fbank cannot be fine-tuned"),
        ("--encoder_hub=a/b,c/d", "cannot be fine-tuned"),
        ("--number_of_epochs=3", "average_checkpoints 5 needs as many epochs"),
        ("--whisper_window=31", "whisper_window must be"),
    ],
)
def test_a_wrong_option_of_fine_tuning(capsys, option, words):
    assert words in refusal(capsys, *BASE, option, hparams="finetune")


@pytest.mark.parametrize("key", sorted(CHECKS))
@pytest.mark.parametrize(
    "value", [True, -1, float("nan"), float("inf"), 10**13, "", [], {}, ()]
)
def test_every_check_refuses_values_of_other_kinds(key, value):
    """In a file, where the command line's reading does not apply."""
    booleans = (
        *("normalize_layers", "train_on_dev", "gradient_checkpointing"),
        "speaker_normalization",
    )
    if value is True and key in booleans:
        return check_settings({key: value})
    with pytest.raises(BadInput, match=f"{key} must be"):
        check_settings({key: value})


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "cannot be read"),
        ("", "no keys at its top level"),
        ("- a\n- b\n", "no keys at its top level"),
        ("5: a\n", "no keys at its top level"),
        ("a: [1\n", "is not valid YAML"),
        ("seed: 1\nbad: !!python/object/apply:os.getcwd []\n", "not valid"),
        ("[" * 5000, "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, capsys, content, words):
    path = tmp_path / "x.yaml"
    if content is not None:
        raw = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(raw)
    with pytest.raises(SystemExit) as stopped:
        train.main([str(path)])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1, message


def test_no_file_is_one_sentence(capsys):
    for arguments in ([], ["--seed=1"]):
        with pytest.raises(SystemExit):
            train.main(arguments)
        assert "first argument must be" in capsys.readouterr().err


def test_nothing_is_executed_before_the_values_are_checked(tmp_path):
    trap = tmp_path / "trap"
    path = tmp_path / "x.yaml"
    text = (ROOT / "hparams/corr_wavlm.yaml").read_text()
    path.write_text(f"{text}\ntrap: !apply:os.mkdir\n    - {trap}\n")
    with pytest.raises(BadInput, match="batch_size"):
        load_configuration([str(path), *BASE, "--batch_size=0"])
    assert not trap.exists()


@EVERY_FILE
def test_every_file_has_the_shared_keys(path):
    """Scripts, experiments and reports use them."""
    keys = set(top_level_keys(path))
    assert {
        *"seed corpus data_folder csv_file number_of_folds test_fold".split(),
        *"dev_split system output_folder manifest_folder prepare".split(),
        *"corpus_card encoder_hub encoder_revision upstream head".split(),
        *"normalize_layers trainer".split(),
    } <= keys
    assert not any(key.startswith("_") for key in keys)


@EVERY_FILE
def test_every_plain_value_has_a_check(path):
    """So that a wrong one is refused before hours of work."""
    hparams, _ = load(hparams=path.stem)
    numbers = {
        key
        for key, value in plain_values(hparams).items()
        if isinstance(value, bool | int | float)
    }
    assert numbers <= set(CHECKS)


def test_defaults_are_those_of_the_paper():
    hparams, _ = load()
    paper = {
        "pooling": "attentive_corr",
        "projection_size": 256,
        "attention_heads": 4,
        "channel_dropout": 0.25,
        "normalize_layers": False,
        "lr": 0.0001,
        "batch_size": 32,
        "number_of_epochs": 270,
        "max_grad_norm": 1.0,
        "average_checkpoints": 1,
    }
    assert {key: hparams[key] for key in paper} == paper
    assert hparams["encoder_hub"] == "microsoft/wavlm-large"
    assert hparams["trainer"].optimizer.func is torch.optim.Adam


def test_the_same_system_on_every_corpus():
    """The corpus is a value, and changes nothing else of a file."""
    values = []
    for corpus in ("iemocap", "emodb", "csv"):
        path = str(ROOT / "hparams/recommended.yaml")
        options = [f"--corpus={corpus}", "--output_folder=o", "--device=cpu"]
        values.append(plain_values(load_configuration([path, *options])[0]))
        assert values[-1].pop("corpus") == corpus
    assert values[0] == values[1] == values[2]


def test_the_precision_follows_the_device():
    assert load()[0]["encoder_precision"] == "fp32"
    chosen = load("--encoder_precision=bf16")[0]["encoder_precision"]
    assert chosen == "bf16"


def test_a_part_is_chosen_by_name_or_by_its_class():
    choices = {"mean": MeanPooling}
    assert choose("pooling", "mean", choices) is MeanPooling
    text = "{class: modules.models.pooling.MeanStdPooling}"
    for choice in (text, {"class": "modules.models.pooling.MeanStdPooling"}):
        part = choose("pooling", choice, choices)
        assert isinstance(part(3), MeanStdPooling)


def test_a_relative_file_is_read_from_the_working_directory(monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = ["hparams/corr_wavlm.yaml", *BASE]
    assert load_configuration(arguments)[0]["hparams_file"] == arguments[0]
    assert pathlib.Path(os.getcwd()) == ROOT
