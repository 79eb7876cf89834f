"""docs/errors.md has the sentences that the code has."""

from tools.errors import TARGET, page, sentences, split_sentence


def test_the_page_is_up_to_date():
    assert TARGET.read_text(encoding="utf-8") == page(), (
        "run python -m tools.errors"
    )


def test_a_sentence_is_read_from_the_code(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(
        'raise BadInput(f"{self.path} has {len(rows)} rows: add "\n'
        '    "more" + ("x" if a else "y"))\n'
        'raise ValueError("ours")\nraise BadInput(sentence)\n'
    )
    assert sentences(path) == ["<path> has <rows> rows: add morex / y"]


def test_the_remedy_comes_after_the_last_colon():
    assert split_sentence("a: b is wrong: mend it") == (
        "a: b is wrong",
        "mend it",
    )
    assert split_sentence("a is wrong; mend it") == ("a is wrong", "mend it")
