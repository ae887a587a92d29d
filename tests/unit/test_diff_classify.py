"""What kind of change it looks like."""

from __future__ import annotations

import numpy as np
import pytest
from diff_examples import (
    Content,
    absent,
    changed,
    fine_tuned,
    lora_report,
    random_model,
    tensor,
    values,
    version,
    with_lora,
)

from git_theta.diffs.compare import Version, compare_checkpoints

MODEL = random_model()


def kinds(
    old: dict[str, Content] | Version, new: dict[str, Content] | Version, **options: bool
) -> dict[str, str]:
    sides = (side if isinstance(side, Version) else version(side) for side in (old, new))
    return {kind.code: kind.text for kind in compare_checkpoints(*sides, **options).kinds}


def test_identical_files() -> None:
    assert kinds(MODEL, MODEL) == {"identical": "identical files"}


def test_only_metadata() -> None:
    assert list(kinds(version(MODEL), version(MODEL, metadata=b"{...}"))) == ["metadata"]


def test_another_format() -> None:
    assert kinds(version(MODEL, form="pytorch"), version(MODEL)) == {
        "format": "format pytorch -> safetensors"
    }


def test_new_and_deleted() -> None:
    assert kinds(absent(), version(MODEL)) == {"new": "new checkpoint, 29 tensors, 427K parameters"}
    assert list(kinds(version(MODEL), absent())) == ["deleted"]
    assert kinds(absent(), absent()) == {}


def test_opaque_files() -> None:
    sides = [version({"file": ("U8", (size,), bytes(size))}, form="opaque") for size in (100, 3000)]
    assert kinds(*sides) == {"opaque": "bytes that git-theta does not see tensors in, 100 B -> 3.0 KB"}
    assert kinds(absent(), sides[0]) == {"new": "new checkpoint, opaque bytes"}
    became = kinds(sides[0], version(MODEL))
    assert list(became) == ["opaque", "format"]


def test_a_lora() -> None:
    report = lora_report()
    assert [(kind.code, kind.text) for kind in report.kinds] == [
        ("low-rank", "LoRA, rank 4 on 24 matrices (attn.q.weight, attn.v.weight)")
    ]


def test_a_lora_that_was_not_read_is_known_by_its_storage() -> None:
    new = with_lora(MODEL)
    updates = dict.fromkeys(new, "low-rank")
    assert kinds(version(MODEL), version(new, updates=updates), values=False) == {
        "low-rank": "LoRA on 8 matrices (attn.q.weight, attn.v.weight)"
    }


def test_a_full_fine_tune() -> None:
    assert kinds(MODEL, fine_tuned(MODEL)) == {"full": "full fine-tune, 29 tensors"}
    assert kinds(MODEL, fine_tuned(MODEL), values=False) == {"full": "changes all over the model, 29 tensors"}


def test_a_partial_fine_tune() -> None:
    tuned = fine_tuned(MODEL)
    some = {name: tuned[name] if name.startswith("h.3") else MODEL[name] for name in MODEL}
    assert kinds(MODEL, some) == {"partial": "partial fine-tune, 7 tensors in h.3"}


def test_only_biases() -> None:
    new = {
        name: changed(content, 0.1) if name.endswith("bias") else content for name, content in MODEL.items()
    }
    assert kinds(MODEL, new) == {"biases": "only biases, 4 tensors"}


def test_a_sparse_edit() -> None:
    rng = np.random.default_rng(0)
    new = {
        name: changed(content, np.where(rng.random(content[1]) < 0.01, 0.1, 0))
        for name, content in MODEL.items()
    }
    found = kinds(MODEL, new)
    assert list(found) == ["sparse"]
    assert found["sparse"].startswith("sparse edit, 1")


@pytest.mark.parametrize("rows", [500, 600])
def test_a_vocabulary_change(rows: int) -> None:
    new = {**MODEL, "wte.weight": tensor("BF16", np.resize(values(MODEL["wte.weight"]), (rows, 64)))}
    assert kinds(MODEL, new) == {"vocabulary": f"vocabulary 512 -> {rows} (wte.weight)"}


def test_another_head() -> None:
    old = {
        **MODEL,
        "classifier.weight": tensor("F32", np.ones((3, 128))),
        "classifier.bias": tensor("F32", np.ones(3)),
    }
    new = {
        **MODEL,
        "classifier.weight": tensor("F32", np.ones((7, 128))),
        "classifier.bias": tensor("F32", np.ones(7)),
    }
    assert kinds(old, new) == {"head": "head replaced (classifier.bias, classifier.weight)"}


def test_layers_that_went() -> None:
    pruned = {name: content for name, content in MODEL.items() if not name.startswith("h.3.")}
    assert kinds(MODEL, pruned) == {"removed": "7 tensors removed in h.3"}
    assert kinds(pruned, MODEL) == {"added": "7 tensors added in h.3"}


def test_a_cast() -> None:
    wide = {name: tensor("F32", values(content) * (1 + 1e-4)) for name, content in MODEL.items()}
    rounded = {name: tensor("BF16", values(content)) for name, content in wide.items()}
    assert kinds(wide, rounded) == {"cast": "cast F32 -> BF16 (29 tensors, values rounded)"}
    assert kinds(MODEL, {name: tensor("F32", values(content)) for name, content in MODEL.items()}) == {
        "cast": "cast BF16 -> F32 (29 tensors, values the same)"
    }
    assert kinds(wide, fine_tuned(rounded, 0.01)) == {
        "cast": "cast F32 -> BF16 (29 tensors, values changed too)"
    }
    assert kinds(wide, rounded, values=False) == {"cast": "cast F32 -> BF16 (29 tensors)"}


def test_a_prefix() -> None:
    assert kinds(MODEL, {f"model.{name}": content for name, content in MODEL.items()}) == {
        "rename": "29 tensors renamed: '' -> 'model.' in front"
    }


def test_one_renamed_tensor() -> None:
    new = dict(MODEL)
    new["embed"] = new.pop("wte.weight")
    assert kinds(MODEL, new) == {"rename": "1 tensor renamed: wte.weight -> embed"}


def test_a_reshaped_tensor() -> None:
    new = {**MODEL, "wte.weight": ("BF16", (64, 512), MODEL["wte.weight"][2])}
    assert kinds(MODEL, new) == {"reshaped": "1 tensor reshaped"}


def test_resized_matrices() -> None:
    new = {**MODEL, "h.0.mlp.up.weight": tensor("BF16", np.ones((512, 128)))}
    assert kinds(MODEL, new) == {"resized": "1 tensor resized"}


def test_part_of_a_model() -> None:
    sides = version(MODEL), version(fine_tuned(MODEL))
    report = compare_checkpoints(*sides, only="h.3.attn.*")
    assert [kind.text for kind in report.kinds] == ["partial fine-tune, 4 tensors in h.3"]
    assert compare_checkpoints(*sides, only="nothing").kinds == ()
