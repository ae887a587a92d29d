"""Manifests as tests want them."""

from __future__ import annotations

from git_theta.manifest import parse, write


def identity_of(text: bytes) -> bytes:
    """The manifest without where its tensors are stored."""
    return write(parse(text).with_storage({}))
