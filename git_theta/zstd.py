"""This thread's zstd compressors and decompressor: making one costs more than a small chunk takes.

The parameters were measured on weights (fraction of the size and speed against the level presets): the fast
strategy with a tiny hash table finds the long repeats there are and leaves the rest to the entropy coder.
"""

from __future__ import annotations

import threading

import zstandard

_WINDOW_LIMIT = 8 << 20  # bytes; a frame that asks for more is none of ours
_local = threading.local()


def compressor(checksum: bool) -> zstandard.ZstdCompressor:
    """This thread's compressor.

    Args:
        checksum: whether its frames end with zstd's own checksum.
    """
    name = "checked" if checksum else "plain"
    found: zstandard.ZstdCompressor | None = getattr(_local, name, None)
    if found is None:
        parameters = zstandard.ZstdCompressionParameters(
            strategy=zstandard.STRATEGY_FAST,
            hash_log=6,
            min_match=7,
            window_log=17,
            write_content_size=True,
            write_checksum=checksum,
        )
        found = zstandard.ZstdCompressor(compression_params=parameters)
        setattr(_local, name, found)
    return found


def decompressor() -> zstandard.ZstdDecompressor:
    """This thread's decompressor."""
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_LIMIT)
    return found
