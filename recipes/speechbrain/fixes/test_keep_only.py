"""One call of save_and_keep_only does not change the next one.

SpeechBrain's tests/unittests/test_checkpoints.py gets the functions.
"""

import torch


def test_keep_only_starts_from_its_arguments(tmpdir):
    from speechbrain.utils.checkpoints import Checkpointer

    checkpointer = Checkpointer(
        tmpdir, recoverables={"module": torch.nn.Linear(1, 1)}
    )
    keys = []
    checkpointer.save_and_keep_only(
        meta={"error": 1}, keep_recent=True, importance_keys=keys
    )
    assert keys == []

    checkpointer.save_and_keep_only(meta={"error": 1}, keep_recent=True)
    # The most recent checkpoint is worse and need not be kept.
    checkpointer.save_and_keep_only(
        meta={"error": 2}, keep_recent=False, min_keys=["error"]
    )
    kept = checkpointer.list_checkpoints()
    assert [ckpt.meta["error"] for ckpt in kept] == [1]
