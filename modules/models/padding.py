"""Utterances of different lengths become one padded batch."""

import torch


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
