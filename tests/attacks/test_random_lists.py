"""Any bytes are read, or refused in one sentence."""

import contextlib
import json

import pytest
from attacked_corpus import ROWS
from hypothesis import HealthCheck, given, settings, strategies as st

from data_prep import corpora, lists
from modules.errors import BadInput
from modules.manifest import read_manifest

WORDS = st.sampled_from(
    [
        *("path", "label", "speaker", "fold", "split", "train", "test", "dev"),
        *(",", ";", "\t", "\n", "\r\n", '"', "\0", "\x1b", "\ufeff", "\u2028"),
        *("a.wav", "ann", "Ann", "3", "3.0", "03", "nan", "None", " => ", "$"),
        *("{", "}", "[", "]", ":", "\\", "wav", "duration", "1e999", "-1", ""),
    ]
)
CELL = st.one_of(WORDS, st.text(max_size=5))
ROW = st.lists(CELL, max_size=6).map(",".join)
LIST = st.lists(ROW, max_size=8).map(
    lambda rows: "\n".join(["path,label,speaker", *rows])
)
TEXT = st.one_of(st.lists(WORDS, max_size=40).map("".join), LIST)
BYTES = st.one_of(
    st.binary(max_size=200),
    TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")),
    TEXT.map(lambda text: text.encode("utf-16", "surrogatepass")),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), CELL),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(CELL, inner, max_size=8)
    ),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())

READERS = {
    "csv": lambda path: corpora.read("csv", None, path, 2),
    "list": lists.read_list,
    "manifest": lambda path: read_manifest(path, "/d"),
}


@pytest.mark.parametrize("reader", READERS)
@given(content=st.one_of(BYTES, JSON))
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_bytes(tmp_path, reader, content):
    path = tmp_path / "list"
    path.write_bytes(content)
    with contextlib.suppress(BadInput):
        READERS[reader](path)


@given(st.lists(st.tuples(CELL, CELL), min_size=len(ROWS), max_size=len(ROWS)))
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_names(tmp_path, names):
    rows = [f"{n}.wav;{a};{b}" for n, (a, b) in enumerate(names)]
    path = tmp_path / "my.csv"
    text = "\n".join(["path;label;speaker", *rows])
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(BadInput):
        utterances = corpora.read("csv", None, path, 2)
        assert len(utterances) == len(names)
        folds = {u.speaker.lower(): u.fold for u in utterances}
        assert all(folds[u.speaker.lower()] == u.fold for u in utterances)
