"""What `changes_study.yaml` changes in the paper's head, one thing at a time.

For the study alone: none of it is part of the systems that are offered.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from modules.models.head import EmotionHead
from modules.models.pooling import AttentiveCorrelationPooling, correlations

# A score beside which the softmax gives the other layers nothing.
ALONE = 1000.0


class CosineAdamW(torch.optim.AdamW):
    """AdamW whose learning rate falls to zero along half a cosine.

    Arguments
    ---------
    params : iterable
        What is trained.
    lr : float
        At the first update.
    weight_decay : float
        Decoupled, as in AdamW.
    updates : int
        After so many the rate is zero; 0: it stays.
    """

    def __init__(self, params, lr, weight_decay=0.0, updates=0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.first_lr, self.updates = lr, updates
        for group in self.param_groups:
            group["done"] = 0  # goes into a checkpoint

    def step(self, closure=None):
        """Update, at the rate of this moment."""
        for group in self.param_groups if self.updates else []:
            share = min(group["done"] / self.updates, 1.0)
            group["lr"] = self.first_lr * (1 + math.cos(math.pi * share)) / 2
            group["done"] += 1
        return super().step(closure)


class _AddCost(torch.autograd.Function):
    """Return values as they are; their cost is added to any loss of them."""

    @staticmethod
    def forward(ctx, values, cost):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, torch.ones((), device=gradient.device)


class StudyPooling(AttentiveCorrelationPooling):
    """Attentive correlation pooling with one thing changed.

    Arguments
    ---------
    input_size, attention_heads : int
        See `modules.models.pooling.AttentiveCorrelationPooling`.
    temperature : float
        Divides the scores before the softmax; inf: all frames weigh the same.
    own_moments : bool
        Each head correlates under its own weights; the mean of the heads'
        correlations is returned. Otherwise the heads' scores are merged.
    evenness : float
        What the negative entropy of the weights, in nats, costs beside the
        mean loss.
    shrinkage : bool
        Shrink each utterance's correlations towards zero as much as their
        sampling error asks for: Schaefer and Strimmer, "A shrinkage approach
        to large-scale covariance matrix estimation", SAGMB 2005, with
        1 / sum of squared weights as the number of independent frames.
    batch_size : int
        Utterances of an update, over which the cost is a mean.
    """

    def __init__(
        self,
        input_size,
        attention_heads=4,
        temperature=1.0,
        own_moments=False,
        evenness=0.0,
        shrinkage=False,
        batch_size=32,
    ):
        super().__init__(input_size, attention_heads)
        self.temperature = temperature
        self.own_moments = own_moments
        self.evenness = evenness / batch_size
        self.shrinkage = shrinkage

    def pool(self, features, mask):
        """Correlate under the weights of each head, or of all merged."""
        weights = self._weights(features, mask)
        if self.evenness and self.training:
            # Not torch.special.entr: its gradient at a padded frame is infinite.
            logs = weights.clamp(min=1e-12).log()
            cost = self.evenness * (weights * logs).sum() / weights.shape[2]
            weights = _AddCost.apply(weights, cost)
        pooled = [
            self._correlate(features, own) for own in weights.unbind(dim=2)
        ]
        return torch.stack(pooled).mean(dim=0)

    def _weights(self, features, mask):
        """Return weights [batch, frames, heads]; one head if merged."""
        scores = self.score(features)
        if not self.own_moments:
            scores = torch.logsumexp(scores, dim=2, keepdim=True)
        scores = scores / self.temperature
        scores = scores.masked_fill(~mask[..., None], -torch.inf)
        return torch.softmax(scores, dim=1)

    def _attend(self, features, mask):
        return self._weights(features, mask).mean(dim=2)

    def _correlate(self, features, weights):
        values = correlations(features, weights)
        if not self.shrinkage:
            return values
        frames = 1 / weights.square().sum(dim=1, keepdim=True)
        error = (1 - values.square()).square() / (frames - 1).clamp(min=1)
        share = error.sum(dim=1) / values.square().sum(dim=1).clamp(min=1e-9)
        return values * (1 - share.clamp(max=1))[:, None]


class _Normalization(nn.BatchNorm1d):
    """Batch normalisation; a last batch of one has no deviation of its own."""

    def forward(self, values):
        if self.training and len(values) > 1:
            return super().forward(values)
        return F.batch_norm(
            values, self.running_mean, self.running_var, eps=self.eps
        )


class StudyHead(EmotionHead):
    """An `EmotionHead` with `StudyPooling` and a classifier of low rank.

    Arguments
    ---------
    one_layer : int
        The hidden state that is used alone; None: a learned sum of all.
    even_layers : bool
        Their plain mean instead.
    classifier_rank : int
        Of the classifier's weights; full if None.
    normalize_embeddings : bool
        Batch normalisation, without scale and shift, before the classifier.
    temperature, own_moments, evenness, shrinkage, batch_size
        See `StudyPooling`.
    **options
        See `modules.models.head.EmotionHead`; ``pooling`` is attentive_corr.
    """

    def __init__(
        self,
        one_layer=None,
        even_layers=False,
        classifier_rank=None,
        normalize_embeddings=False,
        temperature=1.0,
        own_moments=False,
        evenness=0.0,
        shrinkage=False,
        batch_size=32,
        attention_heads=4,
        **options,
    ):
        super().__init__(attention_heads=attention_heads, **options)
        self.pooling = StudyPooling(
            self.pooling.input_size,
            attention_heads,
            float(temperature),
            own_moments,
            evenness,
            shrinkage,
            batch_size,
        )
        scores = self.layer_pooling.scores
        scores.requires_grad_(one_layer is None and not even_layers)
        if one_layer is not None:
            scores.data[one_layer] = ALONE
        values, classes = self.pooling.output_size, options["classes"]
        if classifier_rank is not None:
            self.classifier = nn.Sequential(
                nn.Linear(values, classifier_rank, bias=False),
                nn.Linear(classifier_rank, classes),
            )
        if normalize_embeddings:
            self.standardization = _Normalization(values, affine=False)
