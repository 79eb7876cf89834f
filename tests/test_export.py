"""export.py: complete folders or none, ensembles, the Hub, refusals."""

import ast
import pathlib
import shutil

import pytest
import torch
from conftest import ROOT, recordings_of, train_and_record
from exported_models import load_foreign
from huggingface_hub.errors import HFValidationError
from safetensors.torch import load_file

import export
from modules.errors import BadInput
from modules.inference.loading import load_model
from modules.training.run import Run

# Parts with arguments that differ from their defaults, as anyone may name them
# on the command line: of modules.models, and of a recipe.
PARTS = [
    "{class: modules.models.pooling.AttentiveCorrelationPooling, "
    "attention_heads: 7}",
    "{class: modules.models.ecapa.EcapaPooling, channels: 8, "
    "embedding_size: 5}",
    "{class: recipes.EMODB.head_study.parts.StudyPooling, temperature: 4.0, "
    "own_moments: true, shrinkage: true}",
]


def test_ensemble_is_the_mean_of_probabilities(trained, recordings, tmp_path):
    export.main(
        [
            str(trained.folders[1]),
            str(tmp_path / "both"),
            "--folds",
            "1",
            "2",
            "--include_encoder",
        ]
    )
    second = tmp_path / "second"
    export.main([str(trained.folders[2]), str(second), "--include_encoder"])
    both = load_foreign(tmp_path / "both")
    alone = [trained.log_probabilities[1], {}]
    other = load_foreign(second)
    for name, wav in recordings.items():
        alone[1][name] = other.classify_file(wav)[0][0]
        mean = (alone[0][name].exp() + alone[1][name].exp()) / 2
        found = both.classify_file(wav)[0][0]
        torch.testing.assert_close(found.exp(), mean, atol=1e-5, rtol=0)
    card = (tmp_path / "both/README.md").read_text()
    assert "| mean |" in card and "no test set" in " ".join(card.split())


def test_dry_run_writes_nothing(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "HfApi", None)
    export.main(
        [
            str(trained.folders[1]),
            str(tmp_path / "x"),
            "--include_encoder",
            "--push=me/x",
            "--dry_run",
        ]
    )
    out = capsys.readouterr().out
    assert "encoder/model.safetensors" in out and "me/x" in out
    assert not list(tmp_path.iterdir())


def test_push(trained, tmp_path, monkeypatch):
    calls = []

    class Api:
        def create_repo(self, repository, **kwargs):
            calls.append((repository, kwargs))

        def upload_folder(self, **kwargs):
            calls.append(kwargs)
            return "url"

    monkeypatch.setattr(export, "HfApi", Api)
    command = [str(trained.folders[1]), str(tmp_path / "x")]
    export.main([*command, "--include_encoder", "--push=me/x"])
    assert calls[0] == ("me/x", {"private": True, "exist_ok": True})
    assert calls[1]["repo_id"] == "me/x"

    class Refusing:
        def create_repo(self, repository, **kwargs):
            raise HFValidationError

    monkeypatch.setattr(export, "HfApi", Refusing)
    with pytest.raises(export.BadInput, match="hf auth login"):
        export.push(tmp_path / "x", "me/x")


def test_an_interrupted_export_leaves_nothing(trained, tmp_path, monkeypatch):
    def broken(folder, files):
        (folder / "README.md").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_files", broken)
    with pytest.raises(SystemExit):
        export.main(
            [str(trained.folders[1]), str(tmp_path / "x"), "--include_encoder"]
        )
    assert not list(tmp_path.iterdir())


def test_a_bad_export_is_one_sentence(trained, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "nothing").mkdir()
    run = str(trained.folders[1])
    new = str(tmp_path / "new")
    for arguments, words in (
        ([str(tmp_path / "nothing"), new], "no finished run"),
        ([run, new], "--include_encoder"),
        (
            [run, str(tmp_path / "full"), "--include_encoder"],
            "contains something",
        ),
        ([run, new, "--include_encoder", "--folds", "1", "5"], "fold_5"),
    ):
        with pytest.raises(SystemExit) as stopped:
            export.main(arguments)
        assert stopped.value.code == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1, message
    assert not pathlib.Path(new).exists()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_ones_own_is_exported_as_it_was_trained(
    command, tmp_path, part
):
    """Law 9, also for arguments that the hyperparameter file lacks."""
    run, folder = tmp_path / "run", tmp_path / "model"
    expected = train_and_record(
        command(run, pooling=part, number_of_epochs=1, cache_format="float32")
    )
    export.main([str(run), str(folder), "--include_encoder"])
    files = recordings_of(run)
    foreign = load_foreign(folder)
    plain, _ = load_model(str(folder))
    for name, wanted in expected.items():
        found = foreign.classify_file(files[name])[0][0]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        wave = foreign.load_audio(files[name])
        found = plain(wave[None])[0]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("loaded", ["EmotionClassifier", "EmotionModel"])
def test_train_changes_no_answer_of_an_exported_model(
    exported, trained, loaded
):
    """Law 1, the head included: it has channel dropout, which is recorded."""
    waves = 0.1 * torch.randn(2, 8000)
    if loaded == "EmotionModel":
        model, _ = load_model(str(exported))
        classify, parts = model, [model]
    else:
        model = load_foreign(exported)
        classify, parts = model.classify_batch, [model, model.mods]
    graph = Run(trained.folders[1]).graph
    assert graph["head"]["embedding"]["channel_dropout"] == 0.25
    expected = classify(waves)
    for part in parts:
        part.train()
        torch.nn.ModuleList(
            m for m in [part] if isinstance(m, torch.nn.Module)
        ).train()
    for _ in range(3):
        found = classify(waves)
        if isinstance(found, tuple):
            assert torch.equal(found[0], expected[0])
        else:
            assert torch.equal(found, expected)


def test_two_models_in_one_process(command, exported, recordings, tmp_path):
    """The classes of one are not those of the other."""
    run, folder = tmp_path / "run", tmp_path / "model"
    train_and_record(command(run, pooling=PARTS[2], number_of_epochs=1))
    export.main([str(run), str(folder), "--include_encoder"])
    wav = next(iter(recordings.values()))
    alone = [load_foreign(f).classify_file(wav)[0] for f in (exported, folder)]
    models = [load_foreign(f) for f in (exported, folder)]
    for model, expected in zip(models, alone):
        assert torch.equal(model.classify_file(wav)[0], expected)


def test_a_run_of_an_earlier_version_is_refused(trained, tmp_path, capsys):
    run = shutil.copytree(trained.folders[1], tmp_path / "run")
    (run / "graph.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        export.main([str(run), str(tmp_path / "model"), "--include_encoder"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "no graph.json: an earlier version of this recipe" in message
    assert message.count("\n") == 1 and not (tmp_path / "model").exists()


def test_a_graph_that_names_other_code_is_refused(trained, tmp_path):
    run = shutil.copytree(trained.folders[1], tmp_path / "run")
    path = run / "graph.json"
    text = path.read_text()
    path.write_text(
        text.replace("modules.models.layer_pooling.LayerPooling", "os.system")
    )
    with pytest.raises(BadInput, match="os.system.* is not a part"):
        Run(run).make_head()


def test_what_cannot_be_recorded_is_refused_before_the_training(
    command, tmp_path
):
    """A part that is no class, such as a function, cannot be built again."""
    import train
    from modules.training.configuration import load_configuration

    hparams, run_opts = load_configuration(command(tmp_path / "run"))
    embedding = hparams["head"].keywords["embedding"]
    embedding.keywords["pooling"] = lambda channels: None
    with pytest.raises(BadInput, match="neither a part of a model nor"):
        train.train_fold(hparams, run_opts)
    assert not (tmp_path / "run/graph.json").exists()


def test_export_reads_the_record_and_no_signature():
    for path in (ROOT / "modules/inference").glob("*.py"):
        names = {
            node.id if isinstance(node, ast.Name) else node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Name | ast.Attribute)
        }
        assert not names & {"signature", "getfullargspec", "__signature__"}


def test_folds_of_the_folder_that_cross_validate_writes(
    finished_table, trained, tmp_path, capsys
):
    """Of a system, whose folds have one seed; or of one seed's run."""
    system = trained.folders[1].parents[1]
    first = finished_table / "s_0/fold_1/seed_2"
    for number, folder in enumerate((system, first)):
        target = tmp_path / str(number)
        export.main(
            [str(folder), str(target), "--folds", "1", "2"]
            + ["--include_encoder"]
        )
        heads = load_file(target / "head.safetensors")
        assert {name.split(".")[0] for name in heads} == {"0", "1"}
        second = system / "fold_2/seed_1986"
        if folder is first:
            second = finished_table / "s_0/fold_2/seed_2"
        for name, value in load_file(second / "head.safetensors").items():
            assert heads[f"1.{name}"].equal(value)
    with pytest.raises(SystemExit):
        export.main(
            [str(finished_table / "s_0"), str(tmp_path / "x")]
            + ["--folds", "1", "2", "--include_encoder"]
        )
    assert "contains 2 runs: choose one of" in capsys.readouterr().err
