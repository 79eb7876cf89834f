"""The cache of an upstream, or of two: each keeps its own."""

from modules.features.cache import FeatureCache
from modules.models.fusion import StoredPair
from modules.models.upstream import pair_digest, revisions_of, upstream_names


def open_cache(cache_folder, encoder_hub, encoder_revision=None, **options):
    """Return the cache of what ``encoder_hub`` names.

    Arguments
    ---------
    cache_folder, encoder_hub, encoder_revision
        See `modules.features.cache.FeatureCache`; ``encoder_hub`` may name
        two upstreams, see `modules.models.upstream.open_upstream`.
    **options
        For `modules.features.cache.FeatureCache`.
    """
    names = upstream_names(encoder_hub)
    revisions = revisions_of(names, encoder_revision)
    caches = [
        FeatureCache(cache_folder, name, revision, **options)
        for name, revision in zip(names, revisions)
    ]
    return caches[0] if len(caches) == 1 else PairedCache(*caches)


class PairedCache:
    """Two caches that are read together.

    What another system has computed with one of the upstreams is used.

    Arguments
    ---------
    first, second : modules.features.cache.FeatureCache
    """

    def __init__(self, first, second):
        self.caches = first, second
        self.num_hidden_states = (
            first.num_hidden_states,
            second.num_hidden_states,
        )
        self.hidden_size = first.hidden_size, second.hidden_size
        self.identity = {
            "encoder_digest": pair_digest(
                cache.identity["encoder_digest"] for cache in self.caches
            )
        }

    def read(self, recording):
        """Return a `modules.models.fusion.StoredPair`."""
        return StoredPair(*(cache.read(recording) for cache in self.caches))

    def fill(self, recordings, device="cpu", progress=True, part=None):
        """Encode what is missing with either, one after the other.

        See `modules.features.cache.FeatureCache.fill`.
        """
        for cache in self.caches:
            cache.fill(recordings, device=device, progress=progress, part=part)

    def load(self, recordings, device):
        """Keep recordings in the memory of a device."""
        for cache in self.caches:
            cache.load(recordings, device)
