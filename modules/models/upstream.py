"""The upstream by its name: an encoder, Fbank, or two of them side by side."""

import hashlib
import inspect

from modules.errors import BadInput
from modules.files import find_folder
from modules.models.encoder import FrozenEncoder, computed_seconds, count_frames
from modules.models.encoder_config import encoder_shape
from modules.models.encoder_files import encoder_digest, locate_encoder
from modules.models.encoder_loading import read_config
from modules.models.fbank import FBANK, FbankUpstream
from modules.models.fusion import PairedEncoder
from modules.models.graph import find_class, is_own_class
from modules.models.whisper_window import check_window

# Stands between the names of two upstreams; no name on the Hub has it.
_AND = ","


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
    """Two upstreams whose features are concatenated: early fusion.

    Arguments
    ---------
    first, second : HubUpstream or modules.models.fbank.FbankUpstream
    """

    folder = None

    def __init__(self, first, second):
        self.parts = first, second
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
    """Return the names in ``encoder_hub``: one, or two for early fusion.

    A folder is one, whatever it is called.

    Example
    -------
    >>> upstream_names("openai/whisper-tiny.en,fbank")
    ['openai/whisper-tiny.en', 'fbank']
    """
    if find_folder(encoder_hub):
        return [encoder_hub]
    names = [name.strip() for name in str(encoder_hub).split(_AND)]
    if len(names) > 2:
        raise BadInput(
            f"encoder_hub '{encoder_hub}' names {len(names)} upstreams: name "
            "one, or two with a comma between them"
        )
    return names


def open_upstream(encoder_hub, revision=None, whisper_window=None):
    """Return what is known of the upstream of a name.

    Arguments
    ---------
    encoder_hub : str
        "fbank", a local folder, a name on the HuggingFace Hub, the path of a
        class of this recipe (see `CodeUpstream`), or two of these with a
        comma between them.
    revision : str
        Branch, tag or commit on the Hub, of the first of two.
    whisper_window : int or str
        See `modules.models.whisper_window`; for Whisper alone.

    Raises
    ------
    BadInput
        If it cannot be had.
    """
    names = upstream_names(encoder_hub)
    if len(names) == 2:
        first, second = names
        return UpstreamPair(
            open_upstream(first, revision, whisper_window),
            open_upstream(second, None, whisper_window),
        )
    if names == [FBANK]:
        return FbankUpstream()
    if is_own_class(encoder_hub):
        return CodeUpstream(encoder_hub)
    return HubUpstream(encoder_hub, revision, whisper_window)


def make_encoder(
    encoder_hub, revision=None, precision="fp32", whisper_window=None
):
    """Return the encoder of a name; see `open_upstream`."""
    return open_upstream(encoder_hub, revision, whisper_window).make(precision)
