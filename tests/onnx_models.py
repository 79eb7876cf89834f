"""Models of random weights for the tests of ONNX."""

import torch

from modules.inference.emotion_model import EmotionModel
from modules.models.upstream import open_upstream

_MODELS = "modules.models"

POOLINGS = {
    "mean": {"class": f"{_MODELS}.pooling.MeanPooling"},
    "mean_std": {"class": f"{_MODELS}.pooling.MeanStdPooling"},
    "corr": {"class": f"{_MODELS}.pooling.CorrelationPooling"},
    "attentive_corr": {
        "class": f"{_MODELS}.pooling.AttentiveCorrelationPooling"
    },
    "ecapa_tdnn": {
        "class": f"{_MODELS}.ecapa.EcapaPooling",
        "channels": 16,
        "embedding_size": 12,
    },
}

LAYER_POOLINGS = {
    "weighted": {"class": f"{_MODELS}.layer_pooling.LayerPooling"},
    "normalized": {
        "class": f"{_MODELS}.layer_pooling.LayerPooling",
        "normalize": True,
    },
    "stack": {
        "class": f"{_MODELS}.layer_pooling.LayerStack",
        "normalize": True,
    },
    "middle": {"class": f"{_MODELS}.layer_pooling.OneLayer"},
}


def embedding(pooling, layers="normalized", projection=8):
    """Return the description of an embedding."""
    return {
        "class": f"{_MODELS}.embedding.Embedding",
        "layer_pooling": LAYER_POOLINGS[layers],
        "projection": {"class": "torch.nn.Linear", "out_features": projection},
        "channel_dropout": 0.25,
        "pooling": POOLINGS[pooling],
    }


def joint():
    """Return the description of the recommended embedding."""
    correlations = embedding("corr", "middle") | {
        "projection": {
            "class": f"{_MODELS}.channels.EvenChannels",
            "out_features": 8,
        }
    }
    return {
        "class": f"{_MODELS}.joint_embedding.JointEmbedding",
        "parts": {
            "means": embedding("mean", "stack"),
            "correlations": correlations,
        },
    }


def joint_with_voice(encoder=0, voice=1):
    """Return the description of `joint` and a part of the voice.

    ``encoder`` and ``voice`` are the numbers of their upstreams.
    """
    functionals = {"class": f"{_MODELS}.functionals.FunctionalsPooling"}
    parts = {name: (encoder, part) for name, part in joint()["parts"].items()}
    own = {
        "class": f"{_MODELS}.embedding.Embedding",
        "layer_pooling": LAYER_POOLINGS["middle"],
        "pooling": functionals,
    }
    return {
        "class": f"{_MODELS}.joint_embedding.JointEmbedding",
        "parts": {
            name: {
                "class": f"{_MODELS}.fusion.OneUpstream",
                "upstream": upstream,
                "embedding": part,
            }
            for name, (upstream, part) in {
                **parts,
                "voice": (voice, own),
            }.items()
        },
    }


def random_model(encoder, description, members=1, window="fit", seed=0):
    """Return an `EmotionModel` of random weights with an encoder's folder."""
    upstream = open_upstream(encoder, whisper_window=window)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = EmotionModel(
            encoder,
            None,
            [],
            window,
            members,
            {
                "class": f"{_MODELS}.head.EmotionHead",
                "embedding": description,
                "standardization": {
                    "class": f"{_MODELS}.standardization.Standardization"
                },
            },
            {
                "num_hidden_states": upstream.num_hidden_states,
                "hidden_size": upstream.hidden_size,
                "num_classes": 3,
            },
        )
        for head in model.heads:
            size = len(head.standardization.mean)
            head.standardization.fit(torch.randn(20, size) + 0.1)
    model.encoder = upstream.make()
    model.requires_grad_(False)
    return model.eval()
