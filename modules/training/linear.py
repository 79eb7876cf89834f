"""Training a head whose classifier is all there is to train.

Where a pooling has no weights of its own and nothing is projected, the loss
is convex in the classifier's weights: one minimum, found in seconds, the same
for every seed. How much weights may cost, and whether an embedding's second
moment is of use, is chosen by speakers left out of the training part; the
test session has no part in it.
"""

import warnings

import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

# The squares of the weights cost 1 / (2 * strength) beside the summed loss.
STRENGTHS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4)
PARTS = 5
# Values of embeddings that are in fp64 at a time.
_COLUMNS = 4096


class LinearTraining:
    """Finds standardisation and weights of a head's linear classifier.

    Arguments
    ---------
    label_smoothing : float
        Share of a target's probability that all classes share.
    soft_labels : str
        Field of the manifest that holds the share of listeners who agreed
        with the label, such as "recognised" (EmoDB) or "agreement"
        (IEMOCAP): the other classes share the rest. None: labels are certain.
    train_on_dev : bool
        After all choices, train anew on train and dev together. What is
        said of dev comes from the training without it.
    choose_moments : bool
        Leave out all but the first of a pooling's moments, such as the
        correlations beside the mean, where the log-probability of speakers
        left out is higher without.
    """

    def __init__(
        self,
        label_smoothing=0.0,
        soft_labels=None,
        train_on_dev=True,
        choose_moments=False,
    ):
        self.label_smoothing = label_smoothing
        self.soft_labels = soft_labels
        self.train_on_dev = train_on_dev
        self.choose_moments = choose_moments

    def fit(self, head, train, dev):
        """Train a head.

        Arguments
        ---------
        head : modules.models.head.EmotionHead
            Made with ``standardize``; gets its weights.
        train, dev : modules.features.stored_utterances.StoredUtterances

        Returns
        -------
        dev_predictions : tuple
            As `modules.training.brain.EmotionBrain.predict` returns.
        chosen : dict
            ``moments`` (how many are used), ``strength``,
            ``left_out_log_probability`` (see `choose_strength`) and
            ``dev_WA``.
        """
        embeddings = torch.cat([embed(head, train), embed(head, dev)])
        classes = head.classifier.out_features
        entries = [*train.entries.values(), *dev.entries.values()]
        labels = torch.cat([train.targets, dev.targets])
        targets = self.make_targets(labels, classes, entries)
        seen = slice(len(train))
        speakers = [entry["speaker"] for entry in entries[seen]]
        inputs, back, chosen = self._choose(
            head.standardization, embeddings, targets, labels, speakers
        )
        strength = chosen["strength"]
        weights, bias = fit_classifier(inputs[seen], targets[seen], strength)
        scores = inputs[len(train) :] @ weights.T + bias
        log_probabilities = torch.log_softmax(scores, dim=1).float()
        guesses = log_probabilities.argmax(dim=1)
        accuracy = (guesses == dev.targets).double().mean().item()
        if self.train_on_dev:
            weights, bias = fit_classifier(inputs, targets, strength)
        with torch.no_grad():
            weights = back(weights)
            head.classifier.weight.zero_()
            head.classifier.weight[:, : weights.shape[1]] = weights
            head.classifier.bias.copy_(bias)
        predictions = dev.ids, dev.targets, log_probabilities
        return predictions, chosen | {"dev_WA": accuracy}

    def _choose(self, standardization, embeddings, targets, labels, speakers):
        """Choose moments and strength, and fit the standardisation.

        ``speakers`` are those of the training part, which comes first.

        Returns
        -------
        inputs, back : torch.Tensor, callable
            See `rotate`; of the moments that are used.
        chosen : dict
            As `fit` returns, without dev.
        """
        sizes, seen = standardization.sizes, slice(len(speakers))
        tried = {1, len(sizes)} if self.choose_moments else {len(sizes)}
        best = None
        for moments in sorted(tried):
            standardization.fit(embeddings[seen], moments)
            used = standardization(embeddings)[:, : sum(sizes[:moments])]
            inputs, back = rotate(used.cpu())
            strength, left_out = choose_strength(
                inputs[seen], targets[seen], labels[seen], speakers
            )
            chosen = {
                "moments": moments,
                "strength": strength,
                "left_out_log_probability": left_out,
            }
            # Where nothing can be left out the first stays: it learns least.
            if best is None or (left_out is not None and left_out > best[0]):
                best = left_out, inputs, back, chosen
        _, inputs, back, chosen = best
        standardization.fit(embeddings[seen], chosen["moments"])
        return inputs, back, chosen

    def make_targets(self, labels, classes, entries):
        """Return the probabilities to be learnt, fp64 [n, classes]."""
        certain = torch.nn.functional.one_hot(labels, classes).double()
        if self.soft_labels is None:
            share = torch.ones(len(labels), 1, dtype=torch.float64)
        else:
            share = torch.tensor(
                [[entry[self.soft_labels]] for entry in entries],
                dtype=torch.float64,
            )
        others = (1 - certain) / max(classes - 1, 1)
        targets = share * certain + (1 - share) * others
        smoothing = self.label_smoothing
        return (1 - smoothing) * targets + smoothing / classes


@torch.no_grad()
def embed(head, dataset):
    """Return the embeddings of a data set, fp32 [n, values]."""
    head.eval()
    device = head.classifier.weight.device
    return torch.cat(
        [
            head.pool_packed(head.project([states.to(device)]), [len(states)])
            for _, states, _ in dataset
        ]
    )


def rotate(inputs):
    """Turn inputs into as few values as there are utterances.

    Distances and products stay as they are, and so does what the squares of
    weights cost: the minimum is the same, and is found sooner. By way of the
    products of all pairs of utterances, so that no second copy of embeddings
    with many thousand values is held.

    Arguments
    ---------
    inputs : torch.Tensor
        [n, values].

    Returns
    -------
    rotated : torch.Tensor
        fp64 [n, at most n].
    back : callable
        Turns weights for ``rotated``, [classes, at most n], into weights for
        ``inputs``, fp64 [classes, values].
    """
    if inputs.shape[0] >= inputs.shape[1]:
        return inputs.double(), lambda weights: weights
    parts = inputs.split(_COLUMNS, dim=1)
    products = sum(part.double() @ part.double().T for part in parts)
    powers, axes = torch.linalg.eigh(products)
    # Beyond what fp32 inputs can tell there is rounding alone.
    kept = powers > 1e-12 * powers[-1]
    axes, lengths = axes[:, kept], powers[kept].sqrt()

    def back(weights):
        shares = (weights / lengths) @ axes.T
        return torch.cat([shares @ part.double() for part in parts], dim=1)

    return axes * lengths, back


def choose_strength(inputs, targets, labels, speakers):
    """Choose how freely weights may grow, by speakers left out.

    Arguments
    ---------
    inputs, targets : torch.Tensor
        See `fit_classifier`.
    labels : torch.Tensor
        [n].
    speakers : list of str
        [n].

    Returns
    -------
    strength : float
        Of `STRENGTHS`, the one that gives left-out utterances the highest
        mean log-probability, of equals the smallest; where nothing can be
        left out, the middle one.
    left_out : float
        That log-probability, in nats; None where nothing can be left out.
        What else a system chooses can be chosen by it: no test speaker has
        a part in it.
    """
    parts = leave_out(labels, speakers)
    if not parts:
        logger.warning(
            "too few utterances of a class to leave any out: the classifier's "
            "regularisation is not fitted to this corpus"
        )
        return STRENGTHS[len(STRENGTHS) // 2], None
    heard = []
    for kept, left in parts:
        # A class that only the left-out part has says nothing.
        left = left[torch.isin(labels[left], labels[kept])]
        found, scores = None, []
        for strength in STRENGTHS:
            found = fit_classifier(inputs[kept], targets[kept], strength, found)
            weights, bias = found
            scores.append(
                torch.log_softmax(inputs[left] @ weights.T + bias, dim=1)
                .gather(1, labels[left, None])
                .flatten()
            )
        heard.append(torch.stack(scores))
    means = torch.cat(heard, dim=1).mean(dim=1).tolist()
    return STRENGTHS[means.index(max(means))], max(means)


def leave_out(labels, speakers):
    """Divide utterances into parts to be left out in turn.

    By speakers where every class has two or more, else by utterances.

    Returns
    -------
    parts : list of tuple
        (kept, left out) indices; empty if a class has a single utterance.
    """
    groups = None
    voices = {(int(k), s) for k, s in zip(labels, speakers)}
    classes, counts = labels.unique(return_counts=True)
    heard = [sum(k == int(c) for k, _ in voices) for c in classes]
    if min(heard) >= 2:
        groups = speakers
        parts = min(PARTS, len(set(speakers)))
        splitter = StratifiedGroupKFold(parts)
    else:
        logger.warning(
            "a class is spoken by a single speaker of the training part: the "
            "voice may be learnt in its place"
        )
        parts = min(PARTS, int(counts.min()))
        splitter = StratifiedKFold(max(parts, 2))
    if parts < 2:
        return []
    with warnings.catch_warnings():
        # Fewer utterances of a class than parts: some parts lack it.
        warnings.filterwarnings("ignore", message="The least populated class")
        return [
            (torch.from_numpy(kept), torch.from_numpy(left))
            for kept, left in splitter.split(
                labels.numpy(), labels.numpy(), groups
            )
            if len(left)
        ]


def fit_classifier(inputs, targets, strength, start=None):
    """Find the weights of multinomial logistic regression.

    Arguments
    ---------
    inputs : torch.Tensor
        fp64 [n, values].
    targets : torch.Tensor
        Probabilities, fp64 [n, classes].
    strength : float
        The squares of the weights cost 1 / (2 * strength) beside the
        summed loss.
    start : tuple
        Weights and bias to begin with; zero by default.

    Returns
    -------
    weights : torch.Tensor
        fp64 [classes, values].
    bias : torch.Tensor
        fp64 [classes].
    """
    classes = targets.shape[1]
    shape = classes, inputs.shape[1]
    start = start or (inputs.new_zeros(shape), inputs.new_zeros(classes))
    weights, bias = (part.clone().requires_grad_() for part in start)
    optimizer = torch.optim.LBFGS(
        [weights, bias],
        max_iter=1000,
        tolerance_grad=1e-4,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        scores = torch.log_softmax(inputs @ weights.T + bias, dim=1)
        cost = weights.square().sum() / (2 * strength)
        loss = cost - (targets * scores).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach(), bias.detach()
