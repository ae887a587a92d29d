"""Packages with plug-ins, as pip would install them, and registries that have not seen them yet."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from git_theta import plugins
from git_theta.checkpoints import registry as formats
from git_theta.merges import registry as strategies
from git_theta.plugins import Registry
from git_theta.remotes import registry as transports
from git_theta.updates import registry as kinds

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"

FORMAT = """
class Format:
    name = {name!r}
    suffixes = ({suffix!r},)
    streams = True
    probe = {probe}

    def recognises(self, head):
        return head.startswith({magic!r})

    def layout(self, source): raise NotImplementedError
    def expected_size(self, layout, head): return None
    def patch(self, skeleton, layout, tensors): return skeleton
    def write(self, target, tensors, like): raise NotImplementedError
"""

KIND = """
class Kind:
    name = {name!r}
    def propose(self, target, bases): return []
    def predictor(self, dtype, shape, bases, parameters): raise NotImplementedError
"""

STRATEGY = """
from git_theta.merges.interface import Strategy
from git_theta.merges.options import NoOptions

class Mine(Strategy):
    name = {name!r}
    summary = formula = reference = use = "Of a test."
    options = NoOptions
"""

TRANSPORT = """
class Transport:
    name = {name!r}
    def serves(self, url): return url.startswith("mine://")
    def open(self, name, url): return self
    place = "mine://somewhere"
    def has(self, objects): return 1/0
    def upload(self, objects, source, advance): raise NotImplementedError
    def download(self, objects, target, advance): raise NotImplementedError
"""


def install(folder: Path, package: str, points: Mapping[str, str], group: str, text: bytes = b"") -> Path:
    """Write the description of a package; the modules that its entry points name are the caller's.

    Args:
        text: of entry_points.txt, instead of one made from points and group.
    """
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA.format(package))
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_bytes(text or f"[{group}]\n{lines}".encode())
    return info


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which Python looks for packages; no registry has looked there, nor warned."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_told", set())
    for module in (formats, kinds, strategies, transports):
        old = module._registry
        monkeypatch.setattr(
            module, "_registry", Registry(old.group, old._what, old._flaw, old._results, old._expected)
        )
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]
