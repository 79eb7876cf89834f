"""A frozen encoder as training uses it: hidden states from the disk."""

from modules.features.paired_cache import open_cache
from modules.features.stored_utterances import StoredUtterances
from modules.models.upstream import join_names


class FrozenUpstream:
    """A frozen encoder whose hidden states are computed once and stored.

    Arguments
    ---------
    encoder_hub : str
        See `modules.models.upstream.open_upstream`.
    encoder_revision : str
        Branch, tag or commit on the Hub.
    precision : str
        In which the encoder computes: fp32, bf16 or fp16.
    cache_folder : str
        Folder of the stored hidden states, shared by all encoders.
    cache_format : str
        Number format, see `modules.features.stored_states.FORMATS`.
    cache_device : str
        Device whose memory keeps the hidden states; None: the disk does.
    encode_seconds : float
        Audio per batch of the encoder; None: one recording on a CPU, four
        minutes on a GPU.
    whisper_window : int or str
        Seconds of audio per window of Whisper: "fit" for the next multiple of
        2 s, None for 30 s. Other encoders have no windows.
    acoustics : str
        A second upstream, such as "vocal"; None: there is one alone.

    Attributes
    ----------
    encoder_hub : str
        Names all upstreams.
    num_hidden_states, hidden_size : int
        Of the encoder; pairs for two encoders.
    digest : str
        Identifies the encoder.
    """

    encoder = None

    def __init__(
        self,
        encoder_hub: str,
        encoder_revision: str | None = None,
        precision: str = "fp32",
        cache_folder: str = "cache",
        cache_format: str = "float16",
        cache_device: str | None = None,
        encode_seconds: float | None = None,
        whisper_window: int | str | None = None,
        acoustics: str | None = None,
    ):
        self.encoder_hub = encoder_hub = join_names(encoder_hub, acoustics)
        self.cache_device = cache_device
        self.cache = open_cache(
            cache_folder,
            encoder_hub,
            encoder_revision,
            number_format=cache_format,
            batch_seconds=encode_seconds,
            precision=precision,
            whisper_window=whisper_window,
        )
        self.num_hidden_states = self.cache.num_hidden_states
        self.hidden_size = self.cache.hidden_size
        self.digest = self.cache.identity["encoder_digest"]

    def make_datasets(
        self, manifests: dict, label_encoder, device: str, progress: bool
    ) -> dict:
        """Encode what is not stored yet; return data sets of hidden states.

        Arguments
        ---------
        manifests : dict
            Split -> manifest entries by utterance.
        label_encoder : speechbrain.dataio.encoder.CategoricalEncoder
            Encodes the labels.
        device : str
            Device of the encoder.
        progress : bool
            Show a progress bar.

        Returns
        -------
        datasets : dict
            Split -> `modules.features.stored_utterances.StoredUtterances`.
        """
        self.encode(manifests, device, progress)
        if self.cache_device:
            self.cache.load(_all_of(manifests), self.cache_device)
        return {
            split: StoredUtterances(entries, self.cache, label_encoder)
            for split, entries in manifests.items()
        }

    def encode(
        self,
        manifests: dict,
        device: str,
        progress: bool,
        part: tuple[int, int] | None = None,
    ) -> None:
        """Encode what is not stored yet, or one part of it.

        See `modules.features.cache.FeatureCache.fill`.
        """
        self.cache.fill(
            _all_of(manifests), device=device, progress=progress, part=part
        )

    def load_encoder(self) -> None:
        """Load nothing: the encoder is not trained."""


def _all_of(manifests):
    """Return the entries of all splits."""
    return {u: e for s in manifests.values() for u, e in s.items()}
