"""Merge strategies once more, in float64 NumPy, written from their definitions for the tests.

Nothing here is clever: whole tensors, sorts, loops. Inputs are float64 arrays of one shape.
"""

from __future__ import annotations

import itertools
import math

import numpy as np


def shares(weight, count):
    if not weight:
        return [1 / count] * count
    if len(weight) == 1 and count > 1:
        return [weight[0]] + [(1 - weight[0]) / (count - 1)] * (count - 1)
    return list(weight)


def each(values, count):
    return list(values) * count if len(values) == 1 else list(values)


def average(base, models):
    return sum(models) / len(models)


def linear(base, models, weight=(), normalize=True):
    weights = shares(weight, len(models))
    total = sum(w * m for w, m in zip(weights, models, strict=True))
    return total / sum(weights) if normalize else total


def interpolate(base, models, alpha=None, beta=None, a=None, b=None, form=None):
    ours, theirs = models
    if form == 3:
        return base + beta * (theirs - ours)
    if beta is not None:
        return ours + beta * (theirs - base)
    if a is not None or b is not None:
        return base + (a or 0) * (ours - base) + (b or 0) * (theirs - base)
    alpha = 0.5 if alpha is None else alpha
    return (1 - alpha) * ours + alpha * theirs


def task_arithmetic(base, models, weight=(1.0,), normalize=False, lambda_=1.0):
    weights = np.array(each(weight, len(models)))
    if normalize:
        weights = weights / weights.sum()
    return base + lambda_ * sum(w * (m - base) for w, m in zip(weights, models, strict=True))


def slerp_vectors(one, other, t, parallel):
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    cosine = np.clip(np.vdot(one, other) / norms, -1, 1) if norms else 1.0
    angle = math.acos(cosine)
    if parallel(cosine, angle):
        return (1 - t) * one + t * other
    return (math.sin((1 - t) * angle) * one + math.sin(t * angle) * other) / math.sin(angle)


def slerp(base, models, t=0.5):
    return slerp_vectors(*models, t, lambda cosine, angle: abs(cosine) > 0.9995)


def nuslerp(base, models, weight=(), nuslerp_flatten=True, nuslerp_row_wise=False, task_vectors=False):
    one, two = shares(weight, 2)
    t = two / (one + two)
    origin = base if task_vectors else np.zeros_like(models[0])
    vectors = [m - origin for m in models]

    def turn(x, y):
        return slerp_vectors(x, y, t, lambda cosine, angle: math.sin(angle) < 1e-8)

    if nuslerp_flatten:
        return origin + turn(*vectors)
    rows = [v.reshape(v.shape[0], -1) if v.ndim > 1 else v.reshape(1, -1) for v in vectors]
    if nuslerp_row_wise and models[0].ndim > 1:
        merged = np.stack([turn(x, y) for x, y in zip(rows[0].T, rows[1].T, strict=True)]).T
    else:
        merged = np.stack([turn(x, y) for x, y in zip(*rows, strict=True)])
    return origin + merged.reshape(models[0].shape)


def log_map(mean, point):
    cosine = np.clip(np.vdot(mean, point), -1, 1)
    angle = math.acos(cosine)
    return (
        np.zeros_like(mean) if math.sin(angle) < 1e-12 else angle / math.sin(angle) * (point - cosine * mean)
    )


def spherical_mean(vectors, weights, steps, tolerance):
    lengths = [np.linalg.norm(v) for v in vectors]
    units = [v / length for v, length in zip(vectors, lengths, strict=True)]
    portions = [w / sum(weights) for w in weights]
    mean = sum(w * u for w, u in zip(portions, units, strict=True))
    size = np.linalg.norm(mean)
    mean = mean / size if size >= tolerance else units[0]
    for _ in range(steps):
        step = sum(w * log_map(mean, u) for w, u in zip(portions, units, strict=True))
        length = np.linalg.norm(step)
        if length == 0:
            break
        mean = math.cos(length) * mean + math.sin(length) * step / length
        if length < tolerance:
            break
    return sum(w * length for w, length in zip(weights, lengths, strict=True)) * mean


def multislerp(base, models, weight=(), normalize_weights=True, eps=1e-8, task_vectors=False):
    weights = np.array(shares(weight, len(models)))
    if normalize_weights:
        weights = weights / weights.sum()
    origin = base if task_vectors else np.zeros_like(models[0])
    return origin + spherical_mean([m - origin for m in models], weights, 1, eps)


def karcher(base, models, max_iter=10, tol=1e-5):
    return spherical_mean(models, [1 / len(models)] * len(models), max_iter, tol)


def half_up(value):
    return math.floor(value + 0.5)


def consensus(vectors, weights, normalize, elect="mass"):
    vectors = np.stack([w * v for w, v in zip(weights, vectors, strict=True)])
    sign = np.sign((vectors if elect == "mass" else np.sign(vectors)).sum(axis=0))
    agree = (np.sign(vectors) == sign) & (sign != 0)
    total = np.where(agree, vectors, 0).sum(axis=0)
    if not normalize:
        return total
    sizes = np.abs(np.array(weights)).reshape(-1, *(1,) * sign.ndim)
    counts = np.where(agree, sizes, 0).sum(axis=0)
    return np.divide(total, counts, out=np.zeros_like(total), where=counts > 0)


def weighted_sum(vectors, weights, normalize):
    total = sum(w * v for w, v in zip(weights, vectors, strict=True))
    return total / sum(weights) if normalize else total


def keep_after(values, dropped, kept):
    """Marks the `kept` largest entries after the `dropped` largest; of equal ones the first are larger."""
    mask = np.zeros(values.size, bool)
    mask[np.argsort(-values, axis=None, kind="stable")[dropped : dropped + kept]] = True
    return mask.reshape(values.shape)


def rescaled(new, old, rescale):
    size = np.abs(new).sum()
    return new * (np.abs(old).sum() / size) if rescale and size else new


def ties(
    base, models, weight=(1.0,), density=(1.0,), elect="mass", normalize=True, rescale=False, lambda_=1.0
):
    count, vectors = len(models), []
    for m, d in zip(models, each(density, count), strict=True):
        tau = m - base
        kept = np.where(keep_after(np.abs(tau), 0, max(1, half_up(d * tau.size))), tau, 0)
        vectors.append(rescaled(kept, tau, rescale))
    return base + lambda_ * consensus(vectors, each(weight, count), normalize, elect)


def breadcrumbs_vectors(base, models, density, gamma, rescale):
    count, vectors = len(models), []
    for m, d, g in zip(models, each(density, count), each(gamma, count), strict=True):
        tau = m - base
        kept = max(1, half_up(d * tau.size))
        largest = min(half_up(g * tau.size), tau.size - kept)
        vectors.append(rescaled(np.where(keep_after(np.abs(tau), largest, kept), tau, 0), tau, rescale))
    return vectors


def breadcrumbs(
    base, models, weight=(1.0,), density=(0.9,), gamma=(0.01,), normalize=False, rescale=False, lambda_=1.0
):
    vectors = breadcrumbs_vectors(base, models, density, gamma, rescale)
    return base + lambda_ * weighted_sum(vectors, each(weight, len(models)), normalize)


def breadcrumbs_ties(
    base, models, weight=(1.0,), density=(0.9,), gamma=(0.01,), normalize=False, rescale=False, lambda_=1.0
):
    vectors = breadcrumbs_vectors(base, models, density, gamma, rescale)
    return base + lambda_ * consensus(vectors, each(weight, len(models)), normalize)


def scramble(word):
    """lowbias32, of Python integers."""
    word ^= word >> 16
    word = word * 0x7FEB352D & 0xFFFFFFFF
    word ^= word >> 15
    word = word * 0x846CA68B & 0xFFFFFFFF
    return word ^ word >> 16


def uniform(seed, name, model, count):
    import hashlib

    digest = hashlib.sha256(f"{seed}\0{model}\0{name}".encode()).digest()
    first, second = (int.from_bytes(digest[at : at + 4], "little") for at in (0, 4))
    words = [scramble((scramble(place ^ first) + second) & 0xFFFFFFFF) for place in range(count)]
    return np.array([(word >> 8) / 2**24 for word in words])


def dropped(base, models, chances, rescale, seed, name):
    vectors = []
    for number, (m, p) in enumerate(zip(models, chances, strict=True)):
        kept = uniform(seed, name, number, m.size).reshape(m.shape) < p
        vectors.append(np.where(kept, m - base, 0) / (p if rescale else 1))
    return vectors


def dare_linear(
    base,
    models,
    weight=(1.0,),
    density=(0.5,),
    rescale=True,
    normalize=False,
    lambda_=1.0,
    seed=0,
    name="",
):
    count = len(models)
    vectors = dropped(base, models, each(density, count), rescale, seed, name)
    return base + lambda_ * weighted_sum(vectors, each(weight, count), normalize)


def dare_ties(
    base,
    models,
    weight=(1.0,),
    density=(0.5,),
    rescale=True,
    normalize=False,
    lambda_=1.0,
    seed=0,
    name="",
):
    count = len(models)
    vectors = dropped(base, models, each(density, count), rescale, seed, name)
    return base + lambda_ * consensus(vectors, each(weight, count), normalize)


def della_chances(base, models, density, epsilon):
    found = []
    for m, d, e in zip(models, each(density, len(models)), each(epsilon, len(models)), strict=True):
        tau = np.abs(m - base)
        rows = tau.reshape(tau.shape[0], -1) if tau.ndim > 1 else tau.reshape(1, -1)
        ranks = np.argsort(np.argsort(rows, axis=1, kind="stable"), axis=1, kind="stable")
        last = rows.shape[1] - 1
        chances = d - e + 2 * e * ranks / last if last else np.full(rows.shape, d)
        found.append(chances.reshape(m.shape))
    return found


def della_linear(
    base,
    models,
    weight=(1.0,),
    density=(0.5,),
    epsilon=(0.15,),
    rescale=True,
    normalize=False,
    lambda_=1.0,
    seed=0,
    name="",
):
    vectors = dropped(base, models, della_chances(base, models, density, epsilon), rescale, seed, name)
    return base + lambda_ * weighted_sum(vectors, each(weight, len(models)), normalize)


def della(
    base,
    models,
    weight=(1.0,),
    density=(0.5,),
    epsilon=(0.15,),
    rescale=True,
    normalize=True,
    lambda_=1.0,
    seed=0,
    name="",
):
    vectors = dropped(base, models, della_chances(base, models, density, epsilon), rescale, seed, name)
    return base + lambda_ * consensus(vectors, each(weight, len(models)), normalize)


def sce(base, models, select_topk=1.0):
    vectors = np.stack([m - base for m in models])
    variance = ((vectors - vectors.mean(axis=0)) ** 2).mean(axis=0)
    kept = max(1, half_up(select_topk * variance.size))
    vectors = np.where(keep_after(variance, 0, kept), vectors, 0)
    energies = [(v**2).sum() for v in vectors]
    total = sum(energies)
    weights = [e / total if total else 1 / len(models) for e in energies]
    sign = np.sign(vectors.sum(axis=0))
    agree = (np.sign(vectors) == sign) & (sign != 0)
    portions = np.array(weights).reshape(-1, *(1,) * sign.ndim) * agree
    sums = portions.sum(axis=0)
    merged = (vectors * portions).sum(axis=0)
    return base + np.divide(merged, sums, out=np.zeros_like(merged), where=sums > 0)


def model_stock(base, models, filter_wise=False):
    if filter_wise:
        rows = (base.shape[0], -1) if base.ndim > 1 else (1, -1)
        matrices = [x.reshape(rows) for x in (base, *models)]
        merged = [model_stock(x[0], x[1:]) for x in zip(*matrices, strict=True)]
        return np.stack(merged).reshape(base.shape)
    vectors = [m - base for m in models]
    cosines = []
    for x, y in itertools.combinations(vectors, 2):
        norms = np.linalg.norm(x) * np.linalg.norm(y)
        cosines.append(np.clip(np.vdot(x, y) / norms, -1, 1) if norms else 0.0)
    count, cosine = len(models), np.mean(cosines)
    divisor = 1 + (count - 1) * cosine
    t = count * cosine / divisor if divisor > 0 else 0.0
    return t * average(base, models) + (1 - t) * base


def nearswap(base, models, t=0.0001):
    ours, theirs = models
    distance = np.abs(theirs - ours)
    weight = np.where(distance <= t, 1.0, t / np.maximum(distance, t))
    return (1 - weight) * ours + weight * theirs


def arcee_fusion(base, models):
    ours, theirs = (m.reshape(m.shape[0], -1) if m.ndim > 1 else m.reshape(1, -1) for m in models)

    def softmax(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    p, q = softmax(theirs), softmax(ours)
    divergence = np.maximum((p * np.log(p / q)).sum(axis=1, keepdims=True), 0)
    importance = np.abs(theirs - ours) * divergence
    first, median, third = np.quantile(importance, [0.25, 0.5, 0.75])
    taken = importance >= median + 1.5 * (third - first)
    return np.where(taken, theirs, ours).reshape(models[0].shape)


def passthrough(base, models, scale=1.0):
    return scale * models[0]


def ram(base, models, epsilon=1e-5):
    vectors = np.stack([m - base for m in models])
    active = np.abs(vectors) > epsilon
    return base + np.where(active, vectors, 0).sum(axis=0) / np.maximum(active.sum(axis=0), 1)


def ramplus_tl(base, models, epsilon=1e-5, r=0.1, alpha=0.2):
    vectors = np.stack([m - base for m in models])
    active = np.abs(vectors) > epsilon
    count = active.sum(axis=0)
    result = np.zeros_like(base)
    for vector, mask in zip(vectors, active, strict=True):
        shared, unique = (mask & (count > 1)).sum(), (mask & (count == 1)).sum()
        overlap = shared / unique if unique else 0.0
        factor = 1 + r * min(overlap, alpha)
        result += np.where(mask, vector, 0) * np.where(count == 1, factor, 1 / np.maximum(count, 1))
    return base + result


def magmax(base, models, lambda_=1.0):
    vectors = np.stack([m - base for m in models])
    chosen = np.abs(vectors).argmax(axis=0)
    return base + lambda_ * np.take_along_axis(vectors, chosen[None], axis=0)[0]


def consensus_masks(base, models, tall_lambda=0.4, k=2, lambda_=1.0):
    vectors = [m - base for m in models]
    total = sum(vectors)
    used = sum((np.abs(v) >= tall_lambda * np.abs(total - v)).astype(int) for v in vectors)
    return base + lambda_ * np.where(used >= k, total, 0)


def isotropic(base, models, lambda_=1.0):
    vectors = [m - base for m in models]
    if base.ndim != 2:
        return base + lambda_ * sum(vectors) / len(vectors)
    left, values, right = np.linalg.svd(sum(vectors), full_matrices=False)
    return base + lambda_ * values.mean() * left @ right


def orthogonal(matrix):
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def tsv(base, models, lambda_=1.0):
    vectors = [m - base for m in models]
    if base.ndim != 2:
        return base + lambda_ * sum(vectors) / len(vectors)
    kept = max(1, min(base.shape) // len(models))
    lefts, sizes, rights = [], [], []
    for vector in vectors:
        left, values, right = np.linalg.svd(vector, full_matrices=False)
        lefts.append(left[:, :kept])
        sizes.append(values[:kept])
        rights.append(right[:kept])
    left, right = orthogonal(np.concatenate(lefts, axis=1)), orthogonal(np.concatenate(rights, axis=0))
    return base + lambda_ * left @ np.diag(np.concatenate(sizes)) @ right


def fisher(base, models, fishers, weight=()):
    weights = shares(weight, len(models))
    information = np.stack([w * np.maximum(f, 0) for w, f in zip(weights, fishers, strict=True)])
    total = information.sum(axis=0)
    merged = (information * np.stack(models)).sum(axis=0)
    plain = sum(w * m for w, m in zip(weights, models, strict=True)) / sum(weights)
    return np.where(total > 0, np.divide(merged, total, out=np.zeros_like(merged), where=total > 0), plain)


def take(side):
    return lambda base, models: base if side is None else models[side]


REFERENCES = {
    "arcee-fusion": arcee_fusion,
    "average": average,
    "base": take(None),
    "breadcrumbs": breadcrumbs,
    "breadcrumbs-ties": breadcrumbs_ties,
    "consensus": consensus_masks,
    "dare-linear": dare_linear,
    "dare-ties": dare_ties,
    "della": della,
    "della-linear": della_linear,
    "fisher": fisher,
    "interpolate": interpolate,
    "isotropic": isotropic,
    "karcher": karcher,
    "linear": linear,
    "magmax": magmax,
    "model-stock": model_stock,
    "multislerp": multislerp,
    "nearswap": nearswap,
    "nuslerp": nuslerp,
    "ours": take(0),
    "passthrough": passthrough,
    "ram": ram,
    "ramplus-tl": ramplus_tl,
    "sce": sce,
    "slerp": slerp,
    "task-arithmetic": task_arithmetic,
    "theirs": take(1),
    "ties": ties,
    "tsv": tsv,
}
