"""Downloads from a server on this machine: cut, changed, missing, resumed."""

import dataclasses
import errno
import hashlib
import http.server
import io
import shutil
import threading
import types
import zipfile

import pytest

from data_prep import download as module
from data_prep.archive import contents_digest, unpack
from data_prep.download import archives, download, fetch
from modules.errors import BadInput

CONTENT = bytes(range(256)) * 4096  # 1 MB
MOST = 10**8


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content``, at most ``server.budgets`` bytes each time."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Print nothing."""

    def do_GET(self):
        own, content = self.server, self.server.content
        own.requests.append(dict(self.headers))
        if self.path != "/corpus.zip":
            self.send_error(404)
            return
        start = 0
        asked = self.headers.get("Range") if own.resumes else None
        if self.headers.get("If-Range", own.version) != own.version:
            asked = None
        if asked:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header(
                "Content-Range",
                f"bytes {start}-{len(content) - 1}/{len(content)}",
            )
        self.send_header("ETag", own.version)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        budget = own.budgets.pop(0) if own.budgets else len(content)
        self.wfile.write(content[start : start + budget])
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    """Return a server on loopback; no proxy stands between."""
    monkeypatch.setenv("no_proxy", "*")
    own = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own.content, own.version = CONTENT, '"1"'
    own.budgets, own.requests, own.resumes = [], [], True
    own.url = f"http://127.0.0.1:{own.server_port}/corpus.zip"
    thread = threading.Thread(target=own.serve_forever)
    thread.start()
    yield own
    own.shutdown()
    thread.join()
    own.server_close()


def ranges(server):
    return [headers.get("Range") for headers in server.requests]


def test_a_whole_file(server, tmp_path):
    digest = hashlib.md5(CONTENT).hexdigest()
    path = fetch(server.url, tmp_path / "a.zip", MOST, len(CONTENT), digest)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_cut_connection_goes_on_within_the_command(server, tmp_path):
    server.budgets = [1000, 250_000]
    path = fetch(server.url, tmp_path / "a.zip", MOST)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000-", "bytes=251000-"]


def test_an_interrupted_command_goes_on_when_it_is_started_again(
    server, tmp_path
):
    server.budgets = [1000, 0]
    with pytest.raises(BadInput, match="is cut after 1000 of 1048576 bytes"):
        fetch(server.url, tmp_path / "a.zip", MOST)
    assert (tmp_path / "a.zip.part").stat().st_size == 1000
    assert not (tmp_path / "a.zip").exists()
    server.requests.clear()
    path = fetch(server.url, tmp_path / "a.zip", MOST)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1000-"]


def test_a_server_without_ranges_begins_again(server, tmp_path):
    server.budgets, server.resumes = [1000], False
    assert fetch(server.url, tmp_path / "a", MOST).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_begins_again(server, tmp_path):
    server.budgets = [1000, 0]
    with pytest.raises(BadInput):
        fetch(server.url, tmp_path / "a", MOST)
    server.content, server.version = CONTENT[::-1], '"2"'
    assert fetch(server.url, tmp_path / "a", MOST).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_whole_or_too_long(server, tmp_path, length):
    (tmp_path / "a.part").write_bytes((CONTENT + b"     ")[:length])
    assert fetch(server.url, tmp_path / "a", MOST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "expected", [{"size": 5}, {"md5": "0" * 32}, {"most": 5}]
)
def test_a_changed_file_is_refused_and_removed(server, tmp_path, expected):
    with pytest.raises(BadInput, match="has changed"):
        fetch(server.url, tmp_path / "a", **{"most": MOST} | expected)
    assert not (tmp_path / "a").exists()


def test_a_missing_file(server, tmp_path):
    with pytest.raises(BadInput, match="404 Not Found.: look at the publ"):
        fetch(server.url.replace("corpus", "other"), tmp_path / "a", MOST)


def test_no_network(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(BadInput, match="cannot be reached .Connection"):
        fetch(server.url, tmp_path / "a", MOST)


def test_a_full_disk(server, tmp_path, monkeypatch):
    class Full:
        def __init__(self, *_, **__):
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module, "tqdm", Full)  # where bytes are written
    with pytest.raises(BadInput, match="no space left on device.: make room"):
        fetch(server.url, tmp_path / "a", MOST)
    usage = types.SimpleNamespace(free=5)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(BadInput, match="needs 0.4 GB and its disk has 0.0 GB"):
        download(archives()["emodb"], tmp_path / "emodb")


# ---- archives

WAV = b"RIFF" + bytes(40)
NAMES = {
    "emodb": ["wav/03a01Fa.wav", "wav/16b10Tb.wav"],
    "ravdess": [
        "Actor_01/03-01-01-01-01-01-01.wav",
        "Actor_24/03-01-08-02-02-02-24.wav",
    ],
    "cremad": [
        "x-AudioWAV/AudioWAV/1001_DFA_ANG_XX.wav",
        "x-AudioWAV/AudioWAV/1091_WSI_SAD_HI.wav",
    ],
}


def make_zip(names, content=WAV):
    """Return a ZIP archive of tiny files, and of one that is not wanted."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
        archive.writestr("install.sh", "echo")
    return out.getvalue()


def small(corpus, server, **changes):
    """Return a corpus's archive, of two recordings on this machine."""
    changes = {"url": server.url, "recordings": 2} | changes
    known = {"size": None, "md5": None, "contents": None}
    return dataclasses.replace(archives()[corpus], **known | changes)


@pytest.mark.parametrize("corpus", sorted(NAMES))
def test_every_corpus_is_downloaded_and_read(corpus, server, tmp_path):
    server.content = make_zip(NAMES[corpus])
    folder = download(small(corpus, server), tmp_path / "new" / corpus)
    found = sorted(p.name for p in folder.rglob("*.*"))
    assert found == sorted(n.rpartition("/")[2] for n in NAMES[corpus])
    assert [p.name for p in folder.parent.iterdir()] == [corpus]
    read = __import__(f"data_prep.{corpus}_prepare", fromlist=["read"]).read
    utterances = read(folder)
    assert len({u.fold for u in utterances}) >= 1
    assert all((folder / u.wav).is_file() for u in utterances)
    with pytest.raises(BadInput, match="exists and contains something else"):
        download(small(corpus, server), folder)


def test_every_source_states_what_permits_it_and_what_is_checked():
    assert sorted(archives()) == sorted(NAMES)
    checked = {name: a.is_checked for name, a in archives().items()}
    assert checked == {"emodb": True, "ravdess": True, "cremad": False}
    for archive in archives().values():
        assert archive.licence and archive.url.startswith("http")


def test_changed_recordings_leave_no_trace(server, tmp_path):
    server.content = make_zip(NAMES["emodb"])
    archive = small("emodb", server, contents="0" * 64)
    with pytest.raises(BadInput, match="are not those of http.*digest is ano"):
        download(archive, tmp_path / "emodb")
    assert not (tmp_path / "emodb").exists()


def test_an_archive_that_is_there_is_not_downloaded_again(server, tmp_path):
    (tmp_path / "emodb.zip").write_bytes(make_zip(NAMES["emodb"]))
    download(small("emodb", server), tmp_path / "emodb")
    assert not server.requests


def test_the_digest_of_contents(tmp_path):
    for name in ("b/1.wav", "a/2.wav", "a/text.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    lines = "".join(
        f"{name[2:]} {hashlib.sha256(name.encode()).hexdigest()}\n"
        for name in ("b/1.wav", "a/2.wav")
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert contents_digest(tmp_path) == expected


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    "names, content, sentence",
    [
        (["../wav/03a01Fa.wav"], WAV, "names a file outside of it"),
        (["/wav/03a01Fa.wav"], WAV, "names a file outside of it"),
        (["wav\\..\\..\\03a01Fa.wav"], WAV, "names a file outside of it"),
        (["C:/wav/03a01Fa.wav"], WAV, "names a file outside of it"),
        ([link("wav/03a01Fa.wav")], WAV, "contains a link"),
        (["a/wav/03a01Fa.wav", "b/wav/03a01Fa.wav"], WAV, "twice"),
        (NAMES["emodb"][:1], WAV, "contains 1 recordings where"),
        (NAMES["emodb"], b"version https://git-lfs", "pointer of Git LFS"),
        (NAMES["emodb"], WAV + bytes(10**6), "unpacks to 2000088 bytes, more"),
    ],
)
def test_hostile_archives(tmp_path, names, content, sentence):
    path, target = tmp_path / "a.zip", tmp_path / "target"
    path.write_bytes(make_zip(names, content))
    archive = dataclasses.replace(archives()["emodb"], recordings=2, most=10**6)
    target.mkdir()
    with pytest.raises(BadInput, match=sentence):
        unpack(path, archive, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "target"]


def test_damaged_archives(tmp_path):
    whole = make_zip(NAMES["emodb"])
    archive = dataclasses.replace(archives()["emodb"], recordings=2)
    place = whole.index(b"wav/03a01Fa.wav") + 15
    broken = whole[:place] + b"\xff\xff\xff" + whole[place + 3 :]
    for number, content in enumerate((b"<html>", whole[:60], broken)):
        path, folder = tmp_path / f"{number}.zip", tmp_path / f"{number}"
        path.write_bytes(content)
        folder.mkdir()
        with pytest.raises(BadInput, match="is no ZIP archive or is damaged"):
            unpack(path, archive, folder)


def test_the_command(server, tmp_path, monkeypatch, capsys):
    server.content = make_zip(NAMES["cremad"])
    own = {"cremad": small("cremad", server)}
    monkeypatch.setattr(module, "archives", lambda: own)
    assert module.main(["cremad", str(tmp_path / "c")]) == 0
    printed = capsys.readouterr().out
    assert "no digest is known of it" in printed
    assert "licence: Open Database License" in printed
    assert f"--corpus cremad --data_folder {tmp_path / 'c'}" in printed


@pytest.mark.parametrize(
    "corpus, name",
    [("ravdess", "Actor_01/x.wav"), ("cremad", "AudioWAV/x.wav")],
)
def test_other_folders_are_refused(corpus, name, tmp_path):
    read = __import__(f"data_prep.{corpus}_prepare", fromlist=["read"]).read
    (tmp_path / "other").touch()
    with pytest.raises(BadInput, match="it has no file such as"):
        read(tmp_path)
    path = tmp_path / name
    path.parent.mkdir()
    path.touch()
    with pytest.raises(BadInput, match="no file such as .*, but x.wav: set"):
        read(tmp_path)
    with pytest.raises(BadInput, match="is read without a list"):
        read(tmp_path, "list.csv")


def test_facts_of_names(tmp_path):
    from data_prep import cremad_prepare, ravdess_prepare

    for name in NAMES["ravdess"]:
        path = tmp_path / name
        path.parent.mkdir()
        path.touch()
    first, last = ravdess_prepare.read(tmp_path)
    assert (first.label, first.speaker, first.fold) == ("neutral", "01", 1)
    assert (last.label, last.speaker, last.fold) == ("surprise", "24", 5)
    assert last.extra == {
        "gender": "female",
        "sentence": 2,
        "intensity": "strong",
        "take": 2,
    }
    path = tmp_path / "AudioWAV/1040_ITH_SAD_X.wav"
    path.parent.mkdir()
    path.touch()
    (only,) = cremad_prepare.read(tmp_path)
    assert (only.label, only.speaker, only.fold) == ("sadness", "1040", 5)
