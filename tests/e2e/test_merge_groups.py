"""Tensors that mean something only together: codes and their scales are merged as one, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from git_repo import GitRepo, Once, digest, safetensors_bytes
from merge_cases import MODEL, answer, clean_and_equal, diverge

Raw = tuple[str, tuple[int, ...], bytes]
F8 = {1.0: 0x38, 2.0: 0x40, 4.0: 0x48, 8.0: 0x50}
"""Numbers as float8 with 4 bits of exponent."""


def float8(value: float) -> Raw:
    return "F8_E4M3", (4,), bytes([F8[value]] * 4)


def int8(value: int) -> Raw:
    return "I8", (4,), np.full(4, value, np.int8).tobytes()


def uint8(value: int) -> Raw:
    return "U8", (4,), bytes([value] * 4)


def int32(value: int) -> Raw:
    return "I32", (4,), np.full(4, value, "<i4").tobytes()


def file(**tensors: np.ndarray | Raw | float) -> bytes:
    """A file of these tensors; `__` stands for a dot, and a number for float32."""
    found: dict[str, np.ndarray | Raw] = {}
    for name, value in tensors.items():
        found[name.replace("__", ".")] = np.full(1, value, np.float32) if np.isscalar(value) else value  # type: ignore[assignment]
    return safetensors_bytes(found)


def quantised(codes: float, scale: float, bias: float) -> bytes:
    return file(l__weight=float8(codes), l__weight_scale_inv=scale, l__bias=bias)


def average(repo: GitRepo) -> None:
    repo.write(".thetaconfig", "[merge]\n\tstrategy = average\n")


@pytest.fixture
def conflict(once: Once) -> GitRepo:
    """Codes and scale were changed by both, the bias too; the strategy is to average."""
    return once(diverge_quantised)


def diverge_quantised(repo: GitRepo) -> None:
    average(repo)
    diverge(repo, quantised(4, 0.5, 0), quantised(2, 1.5, 1), quantised(8, 0.25, 3))


def test_codes_and_scale_are_a_conflict_that_a_side_settles(conflict: GitRepo) -> None:
    said = conflict.refused("git", "merge", "theirs")
    assert (
        "  l.weight, l.weight_scale_inv: codes and their scales stand for one tensor, changed differently by "
        "main and theirs: take them from one side" in said
    )
    assert conflict.digest(MODEL) == digest(quantised(2, 1.5, 2))
    again = conflict.refused("git", "theta", "resolve", MODEL, "--strategy", "average")
    assert "2 tensors are still open" in again
    conflict.remedy(again, f"git theta resolve {MODEL} --ours")
    conflict.git("commit", "-q", "--no-edit")
    clean_and_equal(conflict, quantised(2, 1.5, 2))


def test_what_is_answered_for_one_of_them_counts_for_all(conflict: GitRepo) -> None:
    conflict.git("merge", "theirs", check=False)
    conflict.theta("resolve", MODEL, "--theirs", "--tensor", "l.weight")
    conflict.git("commit", "-q", "--no-edit")
    clean_and_equal(conflict, quantised(8, 0.25, 2))


def test_mergetool_asks_once(conflict: GitRepo) -> None:
    conflict.git("merge", "theirs", check=False)
    code, said = answer(conflict, "theirs")
    assert code == 0, said
    assert conflict.digest(MODEL) == digest(quantised(8, 0.25, 2))


def test_merge_command(conflict: GitRepo) -> None:
    said = conflict.refused("git", "theta", "merge", "theirs", "--strategy", "linear")
    assert "2 tensors are in conflict" in said
    command = "git theta merge theirs --strategy linear --rule 'GLOB: ours'"
    conflict.remedy(said, command, put={"GLOB": "*.weight"})
    assert conflict.digest(MODEL) == digest(quantised(2, 1.5, 2))


def test_a_rule_about_the_scale_is_one_about_the_codes(conflict: GitRepo) -> None:
    conflict.git("-c", "theta.merge.rule=*_scale_inv: theirs", "merge", "-q", "theirs")
    assert conflict.digest(MODEL) == digest(quantised(8, 0.25, 2))


@pytest.mark.parametrize(("command", "wanted"), [("ours", (2, 0.5)), ("theirs", (8, 0.25))])
def test_git_options_take_both_from_one_side(
    repo: GitRepo, command: str, wanted: tuple[float, float]
) -> None:
    """Codes were changed by both, the scale by theirs alone."""
    diverge(repo, quantised(4, 0.5, 0), quantised(2, 0.5, 0), quantised(8, 0.25, 0))
    repo.git("merge", "-q", f"-X{command}", "theirs")
    clean_and_equal(repo, quantised(*wanted, 0))


@pytest.mark.parametrize("typed", [(), ("-s", "average"), ("-s", "task-arithmetic")])
def test_what_one_side_alone_changed_is_taken_whole(repo: GitRepo, typed: tuple[str, ...]) -> None:
    diverge(repo, quantised(4, 0.5, 0), quantised(4, 0.5, 0), quantised(4, 0.25, 0))
    repo.theta("merge", *typed, "--no-ff", "theirs")
    clean_and_equal(repo, quantised(4, 0.25, 0))


def test_codes_of_one_side_and_the_scale_of_the_other(repo: GitRepo) -> None:
    diverge(repo, quantised(4, 0.5, 0), quantised(2, 0.5, 0), quantised(4, 0.25, 0))
    said = repo.refused("git", "merge", "theirs")
    assert "2 in conflict" in said
    repo.remedy(said, f"git theta resolve {MODEL} --ours")
    clean = repo.git("commit", "-q", "--no-edit")
    assert not clean.stderr
    clean_and_equal(repo, quantised(2, 0.5, 0))


def test_quantised_by_one_side_and_trained_on_by_the_other(repo: GitRepo) -> None:
    base, trained = file(l__weight=1.0), file(l__weight=1.5)
    small = file(l__weight=int8(5), l__weight_scale=0.2)
    average(repo)
    diverge(repo, base, trained, small)
    said = repo.refused("git", "merge", "theirs")
    assert "  l.weight, l.weight_scale: codes and their scales" in said
    repo.theta("resolve", MODEL, "--ours")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, trained)


def test_applying_a_change(repo: GitRepo) -> None:
    diverge(repo, quantised(4, 0.5, 0), quantised(2, 1.5, 1), quantised(8, 0.25, 3))
    said = repo.refused("git", "cherry-pick", "theirs")
    assert "2 in conflict" in said
    repo.remedy(said, f"git theta resolve {MODEL} --theirs")
    assert repo.digest(MODEL) == digest(quantised(8, 0.25, 4))


FORMATS: dict[str, tuple[Mapping[str, object], Mapping[str, object], Mapping[str, object]]] = {
    "GPTQ": tuple(
        {"a__qweight": int32(n), "a__qzeros": int32(8), "a__scales": 0.1 * n, "a__g_idx": int32(0)}
        for n in (1, 2, 3)
    ),
    "bitsandbytes int8": tuple({"a__weight": int8(n), "a__SCB": 0.1 * n} for n in (1, 2, 3)),
    "bitsandbytes nf4": tuple(
        {
            "a__weight": uint8(n),
            "a__weight__absmax": 0.1 * n,
            "a__weight__quant_state__bitsandbytes__nf4": uint8(7),
        }
        for n in (1, 2, 3)
    ),
    "compressed-tensors": tuple(
        {"a__weight_packed": int32(n), "a__weight_scale": 0.1 * n, "a__weight_shape": int32(4)}
        for n in (1, 2, 3)
    ),
    "MXFP4": tuple({"e__down_proj_blocks": uint8(n), "e__down_proj_scales": uint8(n)} for n in (1, 2, 3)),
    "NVFP4": tuple(
        {
            "a__weight": uint8(n),
            "a__weight_scale": float8(2.0**n),
            "a__weight_scale_2": 0.1 * n,
            "a__input_scale": 1.0 * n,
        }
        for n in (1, 2, 3)
    ),
    "quanto": tuple({"a__weight___data": int8(n), "a__weight___scale": 0.1 * n} for n in (1, 2, 3)),
    "torchao": tuple({"a___weight_qdata": float8(2.0**n), "a___weight_scale": 0.1 * n} for n in (1, 2, 3)),
    "HQQ": tuple({"a__W_q": uint8(n), "a__scale": 0.1 * n, "a__zero": 0.2 * n} for n in (1, 2, 3)),
    "MLX": tuple({"a__weight": int32(n), "a__scales": 0.1 * n, "a__biases": 0.2 * n} for n in (1, 2, 3)),
    "ONNX": tuple({"w_quantized": int8(n), "w_scale": 0.1 * n, "w_zero_point": int8(0)} for n in (1, 2, 3)),
    "scaled fp8": tuple({"a__weight": float8(2.0**n), "a__scale_weight": 0.1 * n} for n in (1, 2, 3)),
    "pruned": tuple({"a__weight_orig": 1.0 * n, "a__weight_mask": float(n % 2)} for n in (1, 2, 3)),
}


@pytest.mark.parametrize("form", FORMATS)
def test_formats(repo: GitRepo, form: str) -> None:
    """Both sides changed everything that the first one of two like layers consists of, and one norm."""
    base, ours, theirs = (
        file(**side, norm__scale=1.0 * number, logit_scale=2.0 * number)  # type: ignore[arg-type]
        for number, side in enumerate(FORMATS[form])
    )
    merged = file(**FORMATS[form][1], norm__scale=1.5, logit_scale=3.0)  # type: ignore[arg-type]
    average(repo)
    diverge(repo, base, ours, theirs)
    said = repo.refused("git", "merge", "theirs")
    assert "2 merged (average)" in said
    assert f"{len(FORMATS[form][0])} in conflict" in said
    repo.theta("resolve", MODEL, "--ours")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, merged)


def test_what_the_same_mask_leaves_is_merged(repo: GitRepo) -> None:
    sides = [file(a__weight_orig=1.0 * number, a__weight_mask=1.0) for number in (0, 1, 4)]
    average(repo)
    diverge(repo, *sides)
    repo.git("merge", "-q", "theirs")
    clean_and_equal(repo, file(a__weight_orig=2.5, a__weight_mask=1.0))
