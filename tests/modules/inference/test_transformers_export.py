"""transformers' audio classification gives the probabilities of the model."""

import numpy as np
import pytest
import torch
from conftest import train_and_record
from exported_models import spoken

import export
from modules.errors import BadInput
from modules.inference.recognizer import Recognizer
from modules.inference.transformers_export import (
    FOLDER,
    find_obstacle,
    write_transformers,
)
from modules.models.standardization import Standardization


@pytest.fixture(scope="module")
def mean_pooled(command, tmp_path_factory, encoder_folder):
    """Return exported models with mean pooling, by encoder."""
    root, folders = tmp_path_factory.mktemp("mean"), {}
    for family, layer_norm in [("wavlm", True), ("wav2vec2", False)]:
        run, folder = root / f"run-{family}", root / family
        train_and_record(
            command(
                run,
                encoder_hub=encoder_folder(family, layer_norm),
                pooling="mean",
                number_of_epochs=2,
            )
        )
        options = ["--include_encoder", "--transformers"]
        export.main([str(run), str(folder), *options])
        folders[family] = str(folder)
    return folders


@pytest.mark.parametrize("family", ["wavlm", "wav2vec2"])
def test_the_pipeline_gives_the_same(mean_pooled, family):
    from transformers import pipeline

    folder = mean_pooled[family]
    recognizer = Recognizer(folder, "cpu")
    classify = pipeline(
        "audio-classification", model=f"{folder}/{FOLDER}", device="cpu"
    )
    for seed, seconds in enumerate((0.3, 1.0, 2.2)):
        wave = spoken(seconds, seed=seed).astype("float32")
        found = classify({"raw": wave, "sampling_rate": 16000})
        found = {one["label"]: one["score"] for one in found}
        expected = recognizer(wave, rate=16000).probabilities
        # Their normalisation of a waveform adds 1e-7 to its variance, ours
        # 1e-5, as SpeechBrain's.
        assert found == pytest.approx(expected, abs=1e-4)


def test_standardisation_is_folded_in(mean_pooled, tmp_path):
    from transformers import AutoModelForAudioClassification

    recognizer = Recognizer(mean_pooled["wavlm"], "cpu")
    (head,) = recognizer.model.heads
    generator = torch.Generator().manual_seed(0)
    head.standardization = Standardization(head.embedding.sizes)
    values = sum(head.embedding.sizes.values())
    head.standardization.fit(torch.randn(50, values, generator=generator))
    write_transformers(tmp_path / "x", recognizer.model, recognizer.labels)
    other = AutoModelForAudioClassification.from_pretrained(tmp_path / "x")
    wave = torch.from_numpy(spoken(1.0)).float()[None]
    wave = torch.nn.functional.layer_norm(wave, wave.shape)
    with torch.inference_mode():
        found = other.eval()(wave).logits.softmax(dim=1)
        expected = recognizer.model(wave).exp()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_transformers_cannot_express(exported, mean_pooled, tmp_path):
    model = Recognizer(str(exported), "cpu").model
    assert find_obstacle(model) == "AttentiveCorrelationPooling"
    with pytest.raises(BadInput, match="cannot express AttentiveCorr"):
        write_transformers(tmp_path / "x", model, ["a", "b", "c"])
    assert not (tmp_path / "x").exists()
    model = Recognizer(mean_pooled["wavlm"], "cpu").model
    assert find_obstacle(model) is None
    model.heads[0].distance = torch.nn.Identity()
    assert "distance from the training" in find_obstacle(model)
    model.heads[0].distance = None
    model.heads.append(model.heads[0])
    assert find_obstacle(model) == "the mean of 2 folds"
    del model.heads[1]
    model.heads[0].embedding.layer_pooling.normalize = True
    assert "weighted sum" in find_obstacle(model)
    model.encoder.is_whisper = True
    assert "an encoder other than" in find_obstacle(model)
