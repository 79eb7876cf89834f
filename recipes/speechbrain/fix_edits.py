"""Six faults of SpeechBrain: what each fix changes, and its test."""

import collections.abc
import dataclasses
import re

from recipes.speechbrain.clone import Clone
from recipes.speechbrain.snippets import definitions, text

CHECKPOINTS = "speechbrain/utils/checkpoints.py"
HUGGINGFACE = "speechbrain/integrations/huggingface/huggingface.py"
PIPELINE = "speechbrain/utils/data_pipeline.py"
PREPARES = (
    "recipes/IEMOCAP/iemocap_prepare.py",
    "recipes/IEMOCAP/emotion_recognition/iemocap_prepare.py",
)


@dataclasses.dataclass(frozen=True)
class Fix:
    """One fix.

    Arguments
    ---------
    title : str
        Of the commit and of the pull request.
    edit : callable
        Changes the files of a `Clone`.
    test : str
        Our file of the test, in `fixes`.
    target : str
        The file of SpeechBrain that gets the test.
    new_file : bool
        Whether the test is a file of its own.
    """

    title: str
    edit: collections.abc.Callable
    test: str
    target: str
    new_file: bool = False

    def test_names(self) -> str:
        """Return an expression for pytest that selects the fix's tests."""
        names = re.findall(r"^def (test_\w+)", text(f"fixes/{self.test}"), re.M)
        return " or ".join(names)

    def write_test(self, clone: Clone):
        """Write the test into a clone."""
        if self.new_file:
            clone.write(self.target, text(f"fixes/{self.test}"))
        else:
            clone.append(
                self.target, "\n\n" + definitions(f"fixes/{self.test}")
            )


def frozen_encoder(clone: Clone):
    """Keep a frozen HuggingFace model in evaluation mode."""
    clone.insert_before(
        HUGGINGFACE,
        "    def override_config(self, config):\n",
        '''    def train(self, mode=True):
        """Sets training mode; a frozen model stays in evaluation mode.

        ``Brain`` calls this on all modules at every epoch. In training mode
        dropout and LayerDrop would change what a frozen model returns. A model
        with parameters that are trained, such as adapters, is not frozen.

        Arguments
        ---------
        mode : bool
            True for training mode, False for evaluation mode.

        Returns
        -------
        HFTransformersInterface
            This module.
        """
        super().train(mode)
        trained = any(p.requires_grad for p in self.model.parameters())
        if self.freeze and not trained:
            self.model.eval()
        return self

''',
    )


def checkpoint_meta(clone: Clone):
    """Write the meta file when all parameters are there."""
    clone.replace_between(
        CHECKPOINTS,
        "            saved_meta = self._save_checkpoint_metafile(\n",
        "\n        # Communicate ckpt_dir to all procs\n",
        """            # The meta file is what makes a folder a checkpoint.
            if (ckpt_dir / METAFNAME).exists():
                os.remove(ckpt_dir / METAFNAME)
""",
    )
    clone.replace(
        CHECKPOINTS,
        '        if if_main_process():\n            ckpt_type = "end-of-epoch"',
        """        # The meta file comes last: a run that is killed while it saves leaves
        # a folder that is no checkpoint.
        ddp_barrier()
        if if_main_process():
            saved_meta = self._save_checkpoint_metafile(
                ckpt_dir / METAFNAME, meta, end_of_epoch
            )
            ckpt_type = "end-of-epoch\"""",
    )


def keep_only(clone: Clone):
    """Give save_and_keep_only a list of its own."""
    clone.replace(
        CHECKPOINTS,
        "        importance_keys=[],\n",
        "        importance_keys=None,\n",
    )
    clone.replace(
        CHECKPOINTS,
        "        if keep_recent:\n            importance_keys.append(ckpt_recency)",
        """        importance_keys = list(importance_keys or [])
        if keep_recent:
            importance_keys.append(ckpt_recency)""",
    )


def cached_item(clone: Clone):
    """Write a file of the cache whole or not at all."""
    clone.replace(
        PIPELINE,
        "        torch.save(result, self._uid2path(uid))\n",
        """        path = self._uid2path(uid)
        # Other processes may write the same item at the same time.
        unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            torch.save(result, unfinished)
            os.replace(unfinished, path)
        finally:
            if unfinished.exists():
                unfinished.unlink()
""",
    )
    clone.replace(
        PIPELINE,
        "import inspect\nimport pathlib\n",
        "import inspect\nimport os\nimport pathlib\nimport uuid\n",
    )


def iemocap_gender(clone: Clone):
    """Read the speaker's gender from the last part of the name."""
    for path in PREPARES:
        clone.replace_between(
            path,
            '                if emoFile[7] != "i"',
            "    return improvisedUtteranceList\n",
            """                # E.g., Ses05M_script01_1b_F010: the last part names the speaker.
                gender = utterance[2].split("_")[-1][0]
                improvisedUtteranceList.append([path, label, gender])
""",
        )


def readme_builder(clone: Clone):
    """Read a row that ends before the column "performance"."""
    clone.replace(
        "tools/readme_builder.py",
        '        got_performance = len(recipe_line["performance"].strip()) > 0\n',
        """        # None if the row ends before this column.
        performance = recipe_line["performance"] or ""
        got_performance = len(performance.strip()) > 0
""",
    )


FIXES = {
    "frozen-encoder": Fix(
        "Keep frozen HuggingFace models in evaluation mode",
        frozen_encoder,
        "test_frozen_encoder.py",
        "speechbrain/integrations/tests/test_frozen_encoder.py",
        new_file=True,
    ),
    "checkpoint-meta": Fix(
        "Checkpointer: write the meta file after the parameters",
        checkpoint_meta,
        "test_checkpoint_meta.py",
        "tests/unittests/test_checkpoints.py",
    ),
    "keep-only": Fix(
        "Checkpointer: no mutable default in save_and_keep_only",
        keep_only,
        "test_keep_only.py",
        "tests/unittests/test_checkpoints.py",
    ),
    "cached-item": Fix(
        "CachedDynamicItem: write files whole or not at all",
        cached_item,
        "test_cached_item.py",
        "tests/unittests/test_data_pipeline.py",
    ),
    "iemocap-gender": Fix(
        "IEMOCAP: read the speaker from the last part of the name",
        iemocap_gender,
        "test_iemocap_gender.py",
        "tests/unittests/test_iemocap_prepare.py",
        new_file=True,
    ),
    "readme-builder": Fix(
        "readme_builder.py: accept rows without the last column",
        readme_builder,
        "test_readme_builder.py",
        "tests/unittests/test_readme_builder.py",
        new_file=True,
    ),
}
