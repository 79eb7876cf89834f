#!/usr/bin/env python3
"""Recipe for emotion recognition on IEMOCAP with a frozen self-supervised
encoder and attentive correlation pooling (https://arxiv.org/abs/2211.01756).

The hidden states of all layers of the encoder are summed with learned
weights and projected to 256 channels. The correlation of every pair of
channels over time is the embedding, and a linear layer classifies it. The
encoder runs once per utterance, its hidden states are kept on disk.

To run one of the five folds, do the following:
> python train_with_correlation.py hparams/train_with_correlation.yaml \
    --data_folder /path/to/IEMOCAP_full_release --test_session 1
"""

import os
import sys

import torch
from hyperpyyaml import load_hyperpyyaml

import speechbrain as sb


class LayerSum(torch.nn.Module):
    """Sum of the hidden states of all layers with learned weights.

    Arguments
    ---------
    num_hidden_states : int
        Number of layers of the encoder plus one.
    """

    def __init__(self, num_hidden_states):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(num_hidden_states))

    def forward(self, hidden_states):
        """Sum the layers.

        Arguments
        ---------
        hidden_states : torch.Tensor
            [batch, frames, layers, hidden_size].

        Returns
        -------
        features : torch.Tensor
            [batch, frames, hidden_size].
        """
        weights = torch.softmax(self.weights, dim=0)
        weights = weights.expand(hidden_states.shape[:-1]).unsqueeze(-2)
        return torch.matmul(weights, hidden_states).squeeze(-2)


class EmotionBrain(sb.Brain):
    def compute_forward(self, batch, stage):
        """Computes the log-probabilities of the emotions."""
        batch = batch.to(self.device)
        hidden_states, lens = batch.hidden_states
        features = self.modules.layer_sum(hidden_states.float())
        features = self.modules.projection(features)
        # Whole channels are dropped, in all frames of an utterance.
        features = torch.nn.functional.dropout1d(
            features.transpose(1, 2),
            self.hparams.channel_dropout,
            training=stage == sb.Stage.TRAIN,
        ).transpose(1, 2)
        embeddings = self.modules.pooling(features, lens)
        return self.hparams.log_softmax(self.modules.classifier(embeddings))

    def compute_objectives(self, predictions, batch, stage):
        """Computes the loss from the log-probabilities and the labels."""
        targets = batch.emo_encoded.data.squeeze(1)
        if stage != sb.Stage.TRAIN:
            self.error_metrics.append(batch.id, predictions, targets)
        return self.hparams.compute_cost(predictions, targets)

    def on_stage_start(self, stage, epoch=None):
        """Starts counting errors."""
        if stage != sb.Stage.TRAIN:
            self.error_metrics = self.hparams.error_stats()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Logs the results; keeps the checkpoint with the fewest errors."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        stats = {
            "loss": stage_loss,
            "error_rate": self.error_metrics.summarize("average"),
        }
        if stage == sb.Stage.VALID:
            self.hparams.train_logger.log_stats(
                {"epoch": epoch},
                train_stats={"loss": self.train_loss},
                valid_stats=stats,
            )
            self.checkpointer.save_and_keep_only(
                meta=stats, min_keys=["error_rate"]
            )
        else:
            self.hparams.train_logger.log_stats(
                {"Epoch loaded": self.hparams.epoch_counter.current},
                test_stats=stats,
            )


def make_encode_item(hparams, device):
    """Makes the data pipeline's item that encodes an utterance once."""
    ssl_model = hparams["ssl_model"].to(device)
    # The files are named after the utterance alone.
    encoder = hparams["ssl_hub"].strip("/").replace("/", "--")
    folder = os.path.join(
        hparams["feature_folder"], encoder, hparams["feature_dtype"]
    )
    dtype = getattr(torch, hparams["feature_dtype"])

    @sb.utils.data_pipeline.CachedDynamicItem.cache(folder)
    @sb.utils.data_pipeline.takes("id", "wav")
    @sb.utils.data_pipeline.provides("hidden_states")
    def encode(id, wav):
        """Encodes an utterance alone, so that nothing is padded."""
        signal = sb.dataio.dataio.read_audio(wav).to(device)
        states = ssl_model(signal.unsqueeze(0))  # [layers, 1, frames, size]
        return states.squeeze(1).movedim(0, 1).to(dtype).cpu().contiguous()

    return encode


def dataio_prep(hparams, device):
    """Prepares the data sets "train", "valid" and "test".

    Arguments
    ---------
    hparams : dict
        The loaded hyperparameters.
    device : str
        Where the encoder runs.

    Returns
    -------
    datasets : dict
        Name -> DynamicItemDataset.
    """
    label_encoder = sb.dataio.encoder.CategoricalEncoder()

    @sb.utils.data_pipeline.takes("emo")
    @sb.utils.data_pipeline.provides("emo", "emo_encoded")
    def encode_label(emo):
        yield emo
        yield label_encoder.encode_label_torch(emo)

    datasets = {}
    for name in ["train", "valid", "test"]:
        datasets[name] = sb.dataio.dataset.DynamicItemDataset.from_json(
            json_path=hparams[f"{name}_annotation"],
            replacements={"data_root": hparams["data_folder"]},
            dynamic_items=[make_encode_item(hparams, device), encode_label],
            output_keys=["id", "hidden_states", "emo_encoded"],
        )
    label_encoder.load_or_create(
        path=os.path.join(hparams["save_folder"], "label_encoder.txt"),
        from_didatasets=[datasets["train"]],
        output_key="emo",
    )
    return datasets


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    sb.utils.distributed.ddp_init_group(run_opts)
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        experiment_directory=hparams["output_folder"],
        hyperparams_to_save=hparams_file,
        overrides=overrides,
    )

    from iemocap_prepare import prepare_data  # noqa E402

    if not hparams["skip_prep"]:
        sb.utils.distributed.run_on_main(
            prepare_data,
            kwargs={
                "data_original": hparams["data_folder"],
                "save_json_train": hparams["train_annotation"],
                "save_json_valid": hparams["valid_annotation"],
                "save_json_test": hparams["test_annotation"],
                "test_session": hparams["test_session"],
                "seed": hparams["seed"],
            },
        )

    datasets = dataio_prep(hparams, run_opts["device"])

    layer_sum = LayerSum(hparams["ssl_config"].num_hidden_layers + 1)
    hparams["checkpointer"].add_recoverable("layer_sum", layer_sum)
    brain = EmotionBrain(
        modules={"layer_sum": layer_sum, **hparams["modules"]},
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.fit(
        epoch_counter=hparams["epoch_counter"],
        train_set=datasets["train"],
        valid_set=datasets["valid"],
        train_loader_kwargs=hparams["train_dataloader_opts"],
        valid_loader_kwargs=hparams["valid_dataloader_opts"],
    )
    brain.evaluate(
        test_set=datasets["test"],
        min_key="error_rate",
        test_loader_kwargs=hparams["valid_dataloader_opts"],
    )
