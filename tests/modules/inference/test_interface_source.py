"""custom_interface.py of a model's folder stands alone."""

import pytest

from modules.inference import interface_source


def test_the_generated_file_imports_nothing_of_ours(exported):
    source = (exported / "custom_interface.py").read_text()
    for name in ("modules", "custom_interface", "export"):
        assert f"from {name}" not in source and f"import {name}" not in source
    for text in ("class FrozenEncoder", "class EmotionHead", "class BadInput"):
        assert source.count(text) == 1
    compile(source, "custom_interface.py", "exec")


def test_names_may_not_clash(tmp_path, monkeypatch):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text('"""Doc."""\n\n\ndef same():\n    pass\n')
    monkeypatch.setattr(interface_source, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match="both define same"):
        interface_source.self_contained_source(("a.py", "b.py"))
