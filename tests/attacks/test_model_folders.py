"""Law 11: a stranger's model folder becomes a sentence, and runs nothing."""

import json
import shutil

import pytest
import torch

import predict
from modules.errors import BadInput
from modules.inference.loading import load_model
from tests.attacks import hostile
from tests.attacks.model_and_run_folders import (
    HEAD,
    LABELS,
    SIZES,
    assert_one_sentence,
    bounded,
    change_json,
    refuse,
    write_hyperparams,
    write_labels,
)

COLD = {"class": "modules.models.distance.TrainingDistance", "temperature": -1}


def test_a_folder_that_nobody_attacked_works(whole_model):
    model, labels = load_model(whole_model)
    scores = model(torch.randn(1, 8000))
    assert labels == LABELS and scores.shape == (1, 3)


def test_hundreds_of_hostile_folders(whole_model, encoders, tmp_path):
    attacks = hostile.chosen_attacks(encoders())
    waveform = torch.randn(1, 8000)
    refused, failures = 0, []
    for name, attack in attacks.items():
        folder = hostile.spoil(whole_model, tmp_path / "t" / "model", attack)
        try:
            with bounded():
                model, labels = load_model(folder)
                scores = model(waveform)
            assert labels == LABELS and scores.isfinite().all()
        except BadInput as problem:
            refused += 1
            assert_one_sentence(problem)
        except Exception as problem:
            failures.append(f"{name}: {problem!r}")
    assert not failures
    assert len(attacks) >= 130 and refused >= 130


# ---- code, and other people's files


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_auto_map_is_refused_and_its_code_not_run(model, name, monkeypatch):
    """Also where someone would answer "y" to the question."""
    ran = model.parent / "ran"
    code = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
    (model / "encoder" / "evil.py").write_text(code)
    classes = {
        "AutoConfig": "evil.Config",
        "AutoModel": "evil.Model",
        "AutoFeatureExtractor": "evil.Extractor",
    }
    change_json(model / "encoder" / name, "auto_map", value=classes)
    monkeypatch.setattr("builtins.input", lambda *text: "y")
    refuse(model, "evil.py")
    (model / "encoder" / "evil.py").unlink()
    refuse(model, "auto_map", name)
    assert not ran.exists()


@pytest.mark.parametrize(
    "key, value",
    [
        ("attn_implementation", "someone/kernel"),
        ("_attn_implementation", "someone/kernel:function"),
        ("_attn_implementation_internal", "flash_attention_2"),
        ("experts_implementation", "someone/kernel"),
        ("transformers_weights", "../../outside.safetensors"),
        ("quantization_config", {"quant_method": "someone"}),
        ("base_model_name_or_path", "someone/model"),
        ("model_type", "llama"),
        ("model_type", ["wavlm"]),
        ("dtype", "load"),
    ],
)
def test_keys_that_fetch_or_import_are_refused(model, key, value):
    change_json(model / "encoder/config.json", key, value=value)
    refuse(model, str(key).removeprefix("model_"))


def test_a_nested_auto_map_is_refused(model):
    path = model / "encoder/config.json"
    change_json(path, "nested", value={"deep": [{"auto_map": {"a": "b.C"}}]})
    refuse(model, "auto_map")


def test_an_adapter_to_another_model_is_refused(model):
    text = json.dumps({"base_model_name_or_path": "someone/model"})
    (model / "encoder/adapter_config.json").write_text(text)
    refuse(model, "adapter")


def test_a_processor_of_code_is_refused(model):
    content = {"feature_extractor": {"auto_map": {"AutoFeatureExtractor": "x"}}}
    path = model / "encoder/processor_config.json"
    path.write_text(json.dumps(content))
    refuse(model, "auto_map")


def test_a_pickle_beside_the_weights_is_refused(model):
    (model / "encoder/pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    refuse(model, "pickle")


def test_an_index_may_not_name_files_elsewhere(model):
    index = {"weight_map": {"x": "../../../outside.safetensors"}}
    path = model / "encoder/model.safetensors.index.json"
    path.write_text(json.dumps(index))
    refuse(model, "outside of its folder")


@pytest.mark.parametrize(
    "name", ["../encoder/config.json", "/etc/passwd", "evil.py", "a.bin", 3]
)
def test_encoder_files_are_those_of_an_encoder(model, name):
    write_hyperparams(model / "hyperparams.yaml", encoder_files=[name])
    refuse(model, "do not use this model")


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "modules.models.encoder.FrozenEncoder",
        "modules.models.trainable_encoder.TrainableEncoder",
        "modules.files.pathlib",
        "modules.models.graph.importlib",
        "torch.nn.Sequential",
        "recipes.nothing.Here",
        "x" * 10**5,
    ],
)
def test_a_head_names_no_other_class(model, path):
    head = HEAD | {"class": path}
    write_hyperparams(model / "hyperparams.yaml", head=head)
    refuse(model, "hyperparams.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "members: !!python/object/apply:os.system ['touch ran']",
        "members: !apply:os.system ['touch ran']",
        "members: !new:subprocess.Popen [touch, ran]",
    ],
)
def test_yaml_tags_run_nothing(model, line, monkeypatch):
    monkeypatch.chdir(model)
    path = model / "hyperparams.yaml"
    path.write_text(path.read_text().replace("members: 1", line))
    refuse(model)
    assert not (model / "ran").exists()


# ---- sizes


@pytest.mark.parametrize("text", [hostile.bomb(), hostile.merge_bomb()])
def test_a_yaml_bomb_is_refused(model, text):
    path = model / "hyperparams.yaml"
    path.write_text(f"{text}\n{path.read_text()}")
    refuse(model, "alias")


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"members": 100_000}, "members"),
        ({"members": 50}, "does not contain the head"),
        ({"sizes": SIZES | {"num_classes": 10**9}}, "num_classes"),
        ({"sizes": SIZES | {"num_hidden_states": 299}}, "does not contain"),
        ({"sizes": SIZES | {"hidden_size": [32, 32]}}, "pair"),
        ({"sizes": SIZES | {"more": 1}}, "sizes"),
        ({"encoder_files": ["config.json"] * 2000}, "encoder_files"),
        ({"head": HEAD | {"list": [0] * 10**4}}, "too many values"),
        ({"head": HEAD | {"temperature": 0}}, "temperature is 0"),
        ({"head": HEAD | {"temperature": float("nan")}}, "contains nan"),
        ({"head": HEAD | {"temperature": "much"}}, "not supported"),
        ({"head": HEAD | {"distance": COLD}}, "temperature is -1"),
        ({"adapted_to": "1e9"}, "adapted_to '1e9'"),
        ({"adapted_to": 1e9}, "adapted_to 1000000000.0"),
        ({"adapted_to": -1}, "adapted_to -1"),
        ({"adapted_to": True}, "adapted_to True"),
        (
            {"head": {"class": "x", "n": json.loads("[" * 50 + "]" * 50)}},
            "deep",
        ),
    ],
)
def test_sizes_are_bounded_before_anything_is_made(model, changes, word):
    write_hyperparams(model / "hyperparams.yaml", **changes)
    refuse(model, word)


@pytest.mark.parametrize(
    "key, value, word",
    [
        ("num_hidden_layers", 10**6, "num_hidden_layers"),
        ("num_hidden_layers", 200, "num_hidden_states [201]"),
        ("hidden_size", 8192, "hidden_size [8192]"),
        ("intermediate_size", 65536, "not in the folder"),
        ("vocab_size", 10**9, "vocab_size"),
        ("num_labels", 10**9, "num_labels"),
        ("conv_stride", [1] * 7, "convolutions"),
        ("conv_stride", [5, 2, 2, 2, 2, 2, 0], "convolutions"),
        ("conv_kernel", [10**6] * 7, "convolutions"),
        ("conv_dim", [512] * 10**4, "config.json"),
        ("max_bucket_distance", 0, "cannot encode"),
        ("layer_norm_eps", float("nan"), "no number"),
        ("layer_norm_eps", float("inf"), "no number"),
    ],
)
def test_an_encoder_is_no_larger_than_its_weights(model, key, value, word):
    change_json(model / "encoder/config.json", key, value=value)
    refuse(model, word)


def test_a_huge_configuration_is_refused(model):
    path = model / "encoder/config.json"
    change_json(
        path, "id2label", value={str(i): "x" * 99 for i in range(10**5)}
    )
    refuse(model, "bytes")


def test_many_files_in_an_encoder_folder_are_refused(model, monkeypatch):
    monkeypatch.setattr("modules.models.encoder_files._MOST_ENTRIES", 20)
    for number in range(20):
        (model / "encoder" / str(number)).touch()
    refuse(model, "files")


@pytest.mark.parametrize("length", [2**24 + 1, 2**63])
def test_a_huge_header_of_weights_is_refused(model, length):
    path = model / "head.safetensors"
    content = path.read_bytes()
    path.write_bytes(length.to_bytes(8, "little") + content[8:])
    refuse(model, "header")


def test_another_sampling_rate_is_refused(model):
    path = model / "encoder/preprocessor_config.json"
    change_json(path, "sampling_rate", value=8000)
    refuse(model, "sampling_rate 8000")


# ---- labels


@pytest.mark.parametrize(
    "text, word",
    [
        ("'angry' => 0\n'sad' => 2\n", "indices"),
        ("'angry' => 0\n'happy' => 1\n", "indices"),
        ("'a' => 0\n'b' => 1\n'c' => 2\n'd' => 3\n", "indices"),
        ("'a' => 0\n'a' => 1\n'c' => 2\n", "same name"),
        ("'a' => 0\n'b\\x1b[2J' => 1\n'c' => 2\n", "no name"),
        ("'a' => 0\n('b', 1) => 1\n'c' => 2\n", "no name"),
        ("'a' => 0\n'' => 1\n'c' => 2\n", "no name"),
        ("'a' => x\n", "invalid literal"),
        ("__import__('os') => 0\n", "malformed"),
        ("(" * 10**4 + " => 0\n", "label_encoder.txt"),
        ("", "indices"),
    ],
)
def test_labels_are_names_without_gaps(model, text, word):
    (model / "label_encoder.txt").write_text(text)
    refuse(model, word)


def test_more_labels_than_classes_are_refused(model):
    write_labels(model / "label_encoder.txt", [*LABELS, "more"])
    refuse(model, "label_encoder.txt")


# ---- at the command line


def test_the_command_ends_in_a_sentence_and_status_2(model, capsys):
    change_json(model / "encoder/config.json", "auto_map", value={"a": "b.C"})
    recording = model / "hyperparams.yaml"
    with pytest.raises(SystemExit) as stopped:
        predict.main([str(model), str(recording)])
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2
    assert lines[-1].startswith("error: ") and "auto_map" in lines[-1]


@pytest.mark.parametrize("name", ["missing", "./a", "/a/b", "a/b/c", "a b", ""])
def test_a_model_that_is_nowhere_is_not_looked_for_on_the_hub(
    name, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)

    def no_network(*args, **kwargs):
        raise OSError("no network")

    target = "modules.inference.loading.snapshot_download"
    monkeypatch.setattr(target, no_network)
    if name == "":
        (tmp_path / "empty").mkdir()
        name = "empty"
    with pytest.raises(BadInput) as caught:
        load_model(name)
    assert_one_sentence(caught.value, name)


def test_a_copy_of_a_model_works_from_anywhere(whole_model, tmp_path):
    folder = shutil.copytree(whole_model, tmp_path / "a: copy #1 {x}")
    assert load_model(folder)[1] == LABELS
