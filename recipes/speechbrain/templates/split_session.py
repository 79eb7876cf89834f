"""The function that SpeechBrain's iemocap_prepare.py gets."""

import os
import random


def split_session(speaker_dict, test_session, seed):
    """Leaves one session out. The test set is that session, the validation
    set a random fifth of the other four. Neither speaker of the test set is
    in the other sets.

    Arguments
    ---------
    speaker_dict : dict
        Map from speaker id to utterances (path, label, gender).
    test_session : int
        The session of the test set, from 1 to 5.
    seed : int
        Chooses the validation set.

    Returns
    -------
    dictionary containing train, valid, and test splits.
    """
    if test_session not in range(1, 6):
        raise ValueError(f"test_session is 1 to 5, not {test_session}")
    prefix = f"Ses0{test_session}"
    # Sorted by name: neither folder nor operating system make a difference.
    utterances = sorted(
        (utterance for part in speaker_dict.values() for utterance in part),
        key=lambda utterance: os.path.basename(utterance[0]),
    )
    data_split = {"train": [], "valid": [], "test": []}
    rest = []
    for utterance in utterances:
        is_test = os.path.basename(utterance[0]).startswith(prefix)
        (data_split["test"] if is_test else rest).append(utterance)
    size = max(round(len(rest) / 5), 1)
    chosen = set(random.Random(seed).sample(range(len(rest)), size))
    for index, utterance in enumerate(rest):
        split = "valid" if index in chosen else "train"
        data_split[split].append(utterance)
    return data_split
