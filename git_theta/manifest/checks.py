"""What must hold between the lines of a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from git_theta.errors import DamagedManifest

if TYPE_CHECKING:
    from git_theta.manifest.lines import Manifest


def check(manifest: Manifest) -> None:
    """Check the names of tensors and views, and that views lie inside their tensors.

    Raises:
        DamagedManifest: they are not sorted or not unique, or a view does not fit.
    """
    _check_names(manifest)
    _check_views(manifest)


def _check_names(manifest: Manifest) -> None:
    names = [line.name for line in manifest.tensors]
    if names != sorted(set(names)):
        raise DamagedManifest("the manifest's tensors are not sorted by name, or one stands twice")
    view_names = [line.name for line in manifest.views]
    if view_names != sorted(set(view_names)) or set(view_names) & set(names):
        raise DamagedManifest("the manifest's views are not sorted by name, or one stands twice")


def _check_views(manifest: Manifest) -> None:
    spans = {line.name: line for line in manifest.tensors}
    for view in manifest.views:
        if view.of not in spans:
            raise DamagedManifest(f"the manifest has a view {view.name!r} of no tensor")
        steps = zip(view.shape, view.strides, strict=False)
        last = view.offset + sum(max(0, length - 1) * stride for length, stride in steps)
        end = view.offset if 0 in view.shape else last + 1
        if len(view.strides) != len(view.shape) or end * view.dtype.bits > 8 * spans[view.of].nbytes:
            raise DamagedManifest(f"the manifest has a view {view.name!r} that does not fit its tensor")
