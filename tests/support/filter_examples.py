"""Checkpoints, and a place where they are cleaned and smudged without Git."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from git_theta import manifest as manifests
from git_theta.filters.clean import Cleaner, Request
from git_theta.filters.smudge import Smudger
from git_theta.filters.source import Content
from git_theta.manifest import Manifest
from git_theta.manifest.chains import closure
from git_theta.objects.index import Index
from git_theta.objects.reader import Objects
from git_theta.objects.store import LocalStore
from git_theta.settings import Settings
from git_theta.storing.bases import Bases
from git_theta.storing.ledger import Ledger
from git_theta.storing.stock import Stock


def weights(seed: int = 0, count: int = 3, shape: tuple[int, ...] = (200, 100)) -> dict[str, np.ndarray]:
    """The tensors of a small model."""
    random = np.random.default_rng(seed)
    found = {f"layer.{n}": random.standard_normal(shape).astype("<f4") * 0.02 for n in range(count)}
    return found | {"bias": random.standard_normal(7).astype("<f4")}


class Bytes:
    """A stream out of memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = memoryview(data), 0

    def readinto(self, view: memoryview) -> int:
        part = self.data[self.at : self.at + len(view)]
        view[: len(part)] = part
        self.at += len(part)
        return len(part)


class Workshop:
    """A store and its filters. A new one on the same folder is like a new process."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.store = LocalStore(folder)
        self.index = Index(folder / "index.sqlite")
        self.objects = Objects(self.store)
        self.said: list[str] = []
        self.related: list[Manifest] = []
        self.doubts = True
        self.remote: LocalStore | None = None
        self.cleaner = Cleaner(self.objects, self._stock, settings or Settings(), self.said.append)
        self.smudger = Smudger(self.objects)

    def stock(self, recorded: Sequence[Manifest], related: Callable[[], Sequence[Manifest]] = tuple) -> Stock:
        """What there is for the tensors of a path with these manifests."""
        ledger = Ledger(recorded, self.index, self.objects, self.doubts, self._elsewhere)
        return Stock(ledger, Bases(recorded, related, self.objects))

    def clean(
        self, data: bytes, *recorded: bytes, name: str = "model.safetensors", looks_only: bool = False
    ) -> bytes:
        """The manifest's text; `recorded` are those that Git has for the path."""
        pairs = [(text, manifests.parse(text)) for text in recorded]
        stream = Bytes(data)
        request = Request(name, pairs, lambda: self.related, looks_only)
        text = self.cleaner.clean(Content(stream), request)
        assert stream.at == len(data), "git waits until everything is read"
        return text

    def smudge(self, text: bytes) -> bytes:
        """The file that a manifest describes; the index remembers it, as the filters have it do."""
        manifest = manifests.parse(text)
        found = bytearray()
        self.smudger.smudge(manifest, found.extend)
        self.index.record({digest: closure([digest], manifest.storage) for digest in manifest.digests()})
        return bytes(found)

    def oids(self) -> set[str]:
        return set(self.store.oids())

    def at_rest(self) -> bool:
        """Whether nothing half-done is left."""
        return not list((self.store.root / "tmp").glob("*"))

    def _stock(self, request: Request) -> Stock:
        return self.stock([manifest for _, manifest in request.recorded], request.related)

    def _elsewhere(self, objects: Mapping[str, int]) -> set[str]:
        assert objects
        assert not any(self.store.has(oid, size) for oid, size in objects.items())
        if self.remote is None:
            return set()
        return {oid for oid, size in objects.items() if self.remote.has(oid, size)}
