"""The manifest: the small text that Git stores in place of a checkpoint."""

from git_theta.manifest.lines import SKELETON, Lines, Manifest, StorageLine, TensorLine, View
from git_theta.manifest.text import (
    LARGEST,
    MAGIC,
    TEXT_MAGIC,
    VERSION,
    find_objects,
    find_size,
    is_manifest,
    parse,
    read_lines,
    version_of,
    with_root,
    write,
)

__all__ = [
    "LARGEST",
    "MAGIC",
    "SKELETON",
    "TEXT_MAGIC",
    "VERSION",
    "Lines",
    "Manifest",
    "StorageLine",
    "TensorLine",
    "View",
    "find_objects",
    "find_size",
    "is_manifest",
    "parse",
    "read_lines",
    "version_of",
    "with_root",
    "write",
]
