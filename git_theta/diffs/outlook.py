"""What to expect of an average of two models, from what was measured on others.

On 219 pairs of small models, fine-tuned from one base or trained apart, the cosine and the distance of the
weights told without fail which were trained apart. Among the others, averages lost next to nothing where the
cosine of the task vectors was at least 0.3. Below that, the overlap of the largest changes says most of what
can be said without data, and that is not much. The share of conflicting signs says less: where it was 25 % or
more, TIES with density 0.2 was better than an average in 8 to 32 % of pairs.
"""

from __future__ import annotations

from git_theta.diffs.agreement import Weights
from git_theta.terminal.units import percent

_SAFE = 0.3
_APART_COSINE = 0.5
_APART_DISTANCE = 1.0
_OPPOSITE = -0.3
_LOST = ((0.3, "19"), (0.4, "6.5"), (0.6, "2.5"))
"""Points of accuracy that averages lost on the mean of two tasks, by overlaps below; above the last none."""


def apart(weights: Weights) -> bool:
    """Whether the models were trained apart: nothing in one need be where it is in the other."""
    cosine, distance = weights.cosine, weights.relative_distance
    return (cosine is not None and cosine < _APART_COSINE) or (
        distance is not None and distance > _APART_DISTANCE
    )


def outlook(weights: Weights | None, cosine: float | None, overlap: float | None) -> str:
    """What to expect of an average of two models, in a sentence.

    Args:
        weights: of the whole models; None where they are not known.
        cosine: of the task vectors.
        overlap: of the largest 20 % of changes.
    """
    if weights is not None and apart(weights):
        return f"trained apart: an average will not work ({_how_far(weights)})"
    if cosine is not None and cosine >= _SAFE:
        return (
            f"an average is safe (cosine of the task vectors {cosine:+.2f}; in tests, such averages lost "
            "1.2 points of accuracy, 5.3 at worst)"
        )
    if cosine is None or overlap is None:
        return "the changes cannot be compared: only an evaluation tells what a merge is worth"
    largest = f"the largest 20% of the changes overlap by {percent(overlap)}"
    if cosine < _OPPOSITE:
        return (
            f"the task vectors pull apart (cosine {cosine:+.2f}): an average cancels much of both; "
            f"{largest}; only an evaluation tells"
        )
    points = next((points for below, points in _LOST if overlap < below), None)
    lost = f"{points} points of accuracy" if points else "no accuracy"
    return f"{largest}: in tests, averages of such pairs lost {lost} in the mean; only an evaluation tells"


def _how_far(weights: Weights) -> str:
    words = []
    if weights.cosine is not None:
        words.append(f"cosine of the weights {weights.cosine:+.2f}")
    if weights.relative_distance is not None:
        words.append(f"distance {weights.relative_distance:.2f} of the base's norm")
    return ", ".join(words)
