"""A checkpoint's identity, where it is only looked at: nothing is stored, nothing is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from git_theta.checkpoints import registry
from git_theta.checkpoints.layout import Layout
from git_theta.checkpoints.registry import PROBE
from git_theta.errors import BrokenPlugin
from git_theta.filters.single_pass import Means, SinglePass
from git_theta.filters.source import Content
from git_theta.manifest import Manifest
from git_theta.objects.store import LocalStore
from git_theta.settings import Settings
from git_theta.threads import cores


def identify(
    content: Content, pathname: str, store: LocalStore, warn: Callable[[str], None]
) -> tuple[Manifest, Layout]:
    """The manifest of a file that is none itself, without storage, and its layout.

    Args:
        pathname: of the file, for its suffix.
        store: where a stream is put aside.
        warn: told why the file is taken for opaque, where it is.
    """
    settings = Settings(allow_damaged=True)
    with ExitStack() as stack, ThreadPoolExecutor(cores(), "tensor") as threads:
        means = Means(store, None, settings, threads, warn)
        one = SinglePass(means, content, stack)
        try:
            layout = one.read(registry.detect(content.head(PROBE), pathname))
        except BrokenPlugin as error:
            warn(error.message)
            one = SinglePass(means, content, stack)
            layout = one.read(None)
        return one.identity(layout), layout
