"""Lets `foreign_class` load this model where the recipe is on the import path.

The repository has one copy of the code of a model, modules/. What `export.py`
writes elsewhere contains that code and needs nothing of the repository.
"""

from modules.inference.speechbrain_interface import (  # noqa: F401
    EmotionClassifier,
)
