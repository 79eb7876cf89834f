"""Utterances of different lengths become one padded batch."""

import torch

from modules.errors import BadInput


def pad_utterances(
    utterances: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad utterances [frames, channels]; return them and their lengths."""
    frames = torch.tensor([len(utterance) for utterance in utterances])
    longest = int(frames.max())
    # Not pad_sequence: its backward copies the whole batch once for each
    # utterance. Not a mask's nonzero() either: it waits for a GPU.
    jumps = torch.arange(len(frames)) * longest - (frames.cumsum(0) - frames)
    packed = torch.cat(utterances)
    places = torch.arange(len(packed)) + jumps.repeat_interleave(frames)
    padded = packed.new_zeros(len(frames) * longest, packed.shape[1])
    places = places.to(packed.device, non_blocking=True)
    padded = padded.index_copy(0, places, packed)
    lengths = (frames / longest).to(packed.device, non_blocking=True)
    return padded.view(len(frames), longest, -1), lengths


def count_samples(lengths, longest: int) -> torch.Tensor:
    """Return the samples of padded waveforms, of lengths of either kind.

    SpeechBrain's lengths are shares of the longest, in (0, 1]; other libraries
    count samples. No waveform has one sample, so the two cannot be confused.

    Arguments
    ---------
    lengths : sequence or torch.Tensor
        All shares, or all samples; [batch].
    longest : int
        Samples of the padded waveforms.

    Returns
    -------
    counts : torch.Tensor
        int64, [batch].

    Raises
    ------
    BadInput
        If they are neither.

    Example
    -------
    >>> count_samples([0.5, 1.0], 16000), count_samples([8000, 16000], 16000)
    (tensor([ 8000, 16000]), tensor([ 8000, 16000]))
    """
    lengths = torch.as_tensor(lengths).double()
    if lengths.dim() == 1 and len(lengths):
        if ((lengths > 0) & (lengths <= 1)).all():
            return (lengths * longest).round().long()
        is_whole = (lengths == lengths.round()) & (lengths > 1)
        if (is_whole & (lengths <= longest)).all():
            return lengths.long()
    values = lengths.flatten()[:4].tolist()
    raise BadInput(
        f"the lengths {values} of waveforms of {longest} samples are neither "
        f"all shares in (0, 1] nor all samples from 2 to {longest}: give one "
        "of the two kinds"
    )
