"""custom_interface.py of a model's folder needs nothing of this repository."""

import ast

import pytest

from modules.inference import interface_source

OURS = {"modules", "recipes", "data_prep", "demo", "export", "train"}


def test_the_generated_file_imports_nothing_of_ours(exported):
    source = (exported / "custom_interface.py").read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in OURS, name
    for text in ("class FrozenEncoder", "class EmotionHead", "class BadInput"):
        assert source.count(text) == 1
    compile(source, "custom_interface.py", "exec")


def test_names_may_not_clash(tmp_path, monkeypatch):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text('"""Doc."""\n\n\ndef same():\n    pass\n')
    monkeypatch.setattr(interface_source, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match="both define same"):
        interface_source.self_contained_source(["a.X"], start="b.py")
