"""An interrupted save leaves no checkpoint.

SpeechBrain's tests/unittests/test_checkpoints.py gets the functions.
"""

import pytest
import torch


def test_interrupted_save_is_no_checkpoint(tmpdir):
    from speechbrain.utils.checkpoints import Checkpointer

    def stop(obj, path):
        raise KeyboardInterrupt

    module = torch.nn.Linear(1, 1)
    recoverables = {"first": module, "second": torch.nn.Linear(1, 1)}
    expected = module.weight.detach().clone()
    whole = Checkpointer(tmpdir, recoverables).save_checkpoint(
        meta={"epoch": 1}
    )

    torch.nn.init.zeros_(module.weight)
    interrupted = Checkpointer(
        tmpdir, recoverables, custom_save_hooks={"second": stop}
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted.save_checkpoint(meta={"epoch": 2})

    resumed = Checkpointer(tmpdir, recoverables)
    assert [ckpt.path for ckpt in resumed.list_checkpoints()] == [whole.path]
    assert resumed.recover_if_possible().meta["epoch"] == 1
    assert torch.equal(module.weight, expected)


def test_interrupted_save_over_a_checkpoint_of_the_same_name(tmpdir):
    from speechbrain.utils.checkpoints import Checkpointer

    def stop(obj, path):
        raise KeyboardInterrupt

    recoverables = {"module": torch.nn.Linear(1, 1)}
    checkpointer = Checkpointer(tmpdir, recoverables)
    checkpointer.save_checkpoint(name="latest")
    checkpointer.custom_save_hooks["module"] = stop
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_checkpoint(name="latest")
    assert not checkpointer.list_checkpoints()
