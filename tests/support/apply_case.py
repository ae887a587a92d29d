"""Merges in a store, without Git: plans, results, and the checks that every result must pass."""

from __future__ import annotations

from pathlib import Path

from filter_examples import Workshop

from git_theta import manifest as manifests
from git_theta.merges.apply import Applied, Means, apply
from git_theta.merges.decisions import Plan
from git_theta.merges.plan import plan
from git_theta.merges.remainders import read_remainder
from git_theta.merges.rule_sources import command_line, resolve
from git_theta.merges.rules import Rules
from git_theta.merges.sides import Sides
from git_theta.settings import Settings


def rules(strategy: str | None = None, *several: str, rows: str = "") -> Rules:
    return resolve([command_line(strategy, [f"rows={rows}"] if rows else [], several)])


class Case:
    """Three versions in a store, and merging them."""

    def __init__(self, folder: Path, *files: bytes, name: str = "model.safetensors", **kinds: object) -> None:
        self.workshop = Workshop(folder, Settings(**kinds))  # type: ignore[arg-type]
        self.name = name
        base = self.workshop.clean(files[0], name=name)
        self.texts = [base, *(self.workshop.clean(data, base, name=name) for data in files[1:])]
        self.manifests = [manifests.parse(text) for text in self.texts]
        self.settings = Settings(**kinds)  # type: ignore[arg-type]

    def plan(self, chosen: Rules) -> Plan:
        around = [one and read_remainder(one, self.workshop.objects) for one in self.manifests]
        return plan(self.manifests[0], self.manifests[1:], chosen, None, around, self.name)

    def merge(self, chosen: Rules, *, again: bool = False) -> Applied:
        """The result; `again` with nothing in the index."""
        workshop = self.workshop
        if again:
            workshop.index.close()
            (workshop.store.root / "index.sqlite").unlink()
        made = self.plan(chosen)
        sides = Sides(self.manifests, workshop.objects)
        stock = workshop.stock(sides.known)
        applied = apply(made, sides, Means(workshop.objects, stock, self.settings, device="cpu"), self.name)
        assert manifests.parse(applied.text) == applied.manifest
        assert workshop.at_rest()
        return applied

    def check(self, applied: Applied, wanted: bytes) -> None:
        """The result is this file, and cleaning that gives the same manifest, here and in a fresh process."""
        assert self.workshop.smudge(applied.text) == wanted
        assert self.workshop.clean(wanted, applied.text, name=self.name) == applied.text
        identity = manifests.parse(self.workshop.clean(wanted, looks_only=True, name=self.name))
        assert identity == applied.manifest.with_storage({})
