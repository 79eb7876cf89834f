"""The upstream by its name: an encoder, features, or two side by side."""

import hashlib
import inspect

from modules.errors import BadInput
from modules.files import find_folder
from modules.models.egemaps import EGEMAPS, EgemapsUpstream
from modules.models.encoder import FrozenEncoder, computed_seconds, count_frames
from modules.models.encoder_config import encoder_shape
from modules.models.encoder_files import encoder_digest, locate_encoder
from modules.models.encoder_loading import read_config
from modules.models.fbank import FBANK, FbankUpstream
from modules.models.fusion import PairedEncoder
from modules.models.graph import find_class, is_own_class
from modules.models.vocal import VOCAL, VocalUpstream
from modules.models.whisper_window import check_window

# Stands between the names of two upstreams; no name on the Hub has it.
_AND = ","

# Features that are code of this recipe.
_FEATURES = {
    EGEMAPS: EgemapsUpstream,
    FBANK: FbankUpstream,
    VOCAL: VocalUpstream,
}


class HubUpstream:
    """What is known of an encoder without loading its weights.

    Arguments
    ---------
    encoder_hub : str
        A local folder or a name on the HuggingFace Hub.
    revision : str
        Branch, tag or commit on the Hub.
    whisper_window : int or str
        See `modules.models.whisper_window`; other encoders have none.

    Attributes
    ----------
    folder : pathlib.Path
        On this machine.
    is_local : bool
        Whether ``encoder_hub`` is a folder.
    num_hidden_states, hidden_size : int
        Of the encoder; transformer layers plus one, and channels.
    """

    def __init__(self, encoder_hub, revision=None, whisper_window=None):
        self.is_local = find_folder(encoder_hub) is not None
        self.folder = locate_encoder(encoder_hub, revision)
        self.config = read_config(self.folder)
        self.num_hidden_states, self.hidden_size = encoder_shape(self.config)
        self.whisper_window = None
        if self.config.model_type == "whisper":
            self.whisper_window = check_window(
                whisper_window, self.config.max_source_positions
            )

    def count_frames(self, samples):
        """Return the frames of an utterance."""
        return count_frames(self.config, samples)

    def computed_seconds(self, seconds):
        """Return the seconds of audio that encoding an utterance costs."""
        return computed_seconds(self.config, self.whisper_window, seconds)

    def digest(self, precision="fp32"):
        """Identify all that decides what it returns."""
        return encoder_digest(self.folder, precision, self.whisper_window)

    def make(self, precision="fp32"):
        """Return the encoder."""
        return FrozenEncoder(
            self.folder,
            precision=precision,
            whisper_window=self.whisper_window,
        )


class CodeUpstream:
    """An encoder that is a class of this recipe and has no pretrained weights.

    docs/adding.md adds one.

    Arguments
    ---------
    path : str
        Path of the class, a `torch.nn.Module` without arguments. It has
        ``num_hidden_states``, ``hidden_size``, ``count_frames`` and the
        ``forward`` of `modules.models.fbank.FbankEncoder`.

    Raises
    ------
    BadInput
        If there is no such class, or it is not an encoder.

    Example
    -------
    >>> CodeUpstream("modules.models.fbank.FbankEncoder").hidden_size
    80
    """

    is_local = False
    folder = None

    def __init__(self, path: str):
        self.path = path
        self.make_it = find_class(path)
        if not hasattr(self.make_it, "count_frames"):
            raise BadInput(f"{path} is not an encoder: it has no count_frames")
        self.num_hidden_states = self.make_it.num_hidden_states
        self.hidden_size = self.make_it.hidden_size

    def count_frames(self, samples):
        """Return the frames of an utterance."""
        return self.make_it.count_frames(samples)

    def computed_seconds(self, seconds):
        """Return the seconds of audio that encoding an utterance costs."""
        return seconds

    def digest(self, precision="fp32"):
        """Return the SHA-256 of the class's path and source."""
        text = f"{self.path}\n{inspect.getsource(self.make_it)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return self.make_it()


class UpstreamPair:
    """Two upstreams of the same waveforms.

    Arguments
    ---------
    first, second : HubUpstream or modules.models.fbank.FbankUpstream

    Attributes
    ----------
    folder : pathlib.Path
        Of the one that has weights; None if none or both have.
    """

    def __init__(self, first, second):
        self.parts = first, second
        folders = [part.folder for part in self.parts if part.folder]
        self.folder = folders[0] if len(folders) == 1 else None
        self.has_two_folders = len(folders) == 2
        self.is_local = first.is_local or second.is_local
        self.num_hidden_states = (
            first.num_hidden_states,
            second.num_hidden_states,
        )
        self.hidden_size = first.hidden_size, second.hidden_size

    def digest(self, precision="fp32"):
        """Identify both, in this order."""
        return pair_digest(part.digest(precision) for part in self.parts)

    def make(self, precision="fp32"):
        """Return one encoder that is both."""
        return PairedEncoder(*(part.make(precision) for part in self.parts))


def pair_digest(digests):
    """Return one digest of several."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def upstream_names(encoder_hub):
    """Return the names in ``encoder_hub``: one or two.

    A folder is one, whatever it is called.

    Example
    -------
    >>> upstream_names("openai/whisper-tiny.en,fbank")
    ['openai/whisper-tiny.en', 'fbank']
    """
    if find_folder(encoder_hub):
        return [encoder_hub]
    first, _, second = str(encoder_hub).rpartition(_AND)
    if first and find_folder(first):
        return [first, second.strip()]
    names = [name.strip() for name in str(encoder_hub).split(_AND)]
    if len(names) > 2:
        raise BadInput(
            f"encoder_hub '{encoder_hub}' names {len(names)} upstreams: name "
            "one, or two with a comma between them; acoustics is one of them"
        )
    return names


def join_names(encoder_hub: str, acoustics: str | None = None) -> str:
    """Return one name for an encoder and what is used beside it.

    Example
    -------
    >>> join_names("openai/whisper-tiny.en", "vocal")
    'openai/whisper-tiny.en,vocal'
    """
    both = encoder_hub if acoustics is None else f"{encoder_hub},{acoustics}"
    upstream_names(both)
    return both


def is_code(name: str) -> bool:
    """Return whether an upstream is code of this recipe, without files.

    Example
    -------
    >>> is_code("vocal"), is_code("openai/whisper-tiny.en")
    (True, False)
    """
    return name in _FEATURES or is_own_class(name)


def replace_encoder(encoder_hub: str, other: str) -> str:
    """Return upstreams with another place of the encoder.

    Features of the voice stay; a name with a comma replaces all.

    Example
    -------
    >>> replace_encoder("openai/whisper-tiny.en,vocal", "/models/tiny")
    '/models/tiny,vocal'
    """
    names = upstream_names(encoder_hub)
    encoders = [name for name in names if not is_code(name)]
    if len(encoders) != 1:
        return other
    return _AND.join(other if n == encoders[0] else n for n in names)


def revisions_of(names: list[str], revision: str | None) -> list[str | None]:
    """Return a revision for each name: the first that has weights gets it.

    Example
    -------
    >>> revisions_of(["vocal", "openai/whisper-tiny.en"], "main")
    [None, 'main']
    """
    first = next((name for name in names if not is_code(name)), None)
    return [revision if name == first else None for name in names]


def open_upstream(encoder_hub, revision=None, whisper_window=None, folder=None):
    """Return what is known of the upstream of a name.

    Arguments
    ---------
    encoder_hub : str
        "fbank", "vocal", "egemaps", a local folder, a name on the
        HuggingFace Hub, the path of a class of this recipe (see
        `CodeUpstream`), or two of these with a comma between them.
    revision : str
        Branch, tag or commit on the Hub, of the first that has weights.
    whisper_window : int or str
        See `modules.models.whisper_window`; for Whisper alone.
    folder : pathlib.Path
        Has the files of the encoder, whatever its name is; None: its name
        leads to them.

    Raises
    ------
    BadInput
        If it cannot be had.
    """
    names = upstream_names(encoder_hub)
    if len(names) == 2:
        return UpstreamPair(
            *(
                open_upstream(name, own, whisper_window, folder)
                for name, own in zip(names, revisions_of(names, revision))
            )
        )
    if names[0] in _FEATURES:
        return _FEATURES[names[0]]()
    if is_own_class(encoder_hub):
        return CodeUpstream(encoder_hub)
    return HubUpstream(folder or encoder_hub, revision, whisper_window)


def make_encoder(
    encoder_hub, revision=None, precision="fp32", whisper_window=None
):
    """Return the encoder of a name; see `open_upstream`."""
    return open_upstream(encoder_hub, revision, whisper_window).make(precision)
