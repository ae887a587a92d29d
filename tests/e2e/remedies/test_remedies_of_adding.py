"""What git add, git theta add and their settings advise, done as it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from adapters import RANK, SHAPE, lora, model, updates
from git_repo import GitRepo, digest, does, safetensors_bytes, version, weights
from torch_files import archive

MODEL = "model.safetensors"


def add_adapter(repo: GitRepo, adapter: Path, *options: str) -> str:
    """What git theta add says that refuses an adapter; nothing is staged."""
    said = repo.refused("git", "theta", "add", MODEL, "--update-data", str(adapter), *options)
    assert repo.staged() == []
    return said


def stages(repo: GitRepo, adapter: Path) -> None:
    """git theta add applies the adapter and stages the model."""
    repo.theta("add", MODEL, "--update-data", str(adapter), "--apply")
    assert updates(repo)["layers.1.weight"] != "dense"


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        (MODEL, version(0)[:-1000], version(0)),
        ("model.pt", archive(b"\x80\x02}q\x00.")[:-30], archive(b"\x80\x02}q\x00.")),
    ],
)
def test_damaged_checkpoint(repo: GitRepo, name: str, bad: bytes, good: bytes) -> None:
    repo.write(name, bad)
    said = repo.refused("git", "add", name)
    repo.remedy(said, f"git -c theta.allowDamaged=true add {name}")
    assert repo.staged() == [name]
    repo.git("rm", "-q", "--cached", name)
    does(said, "save the file again")
    repo.write(name, good)
    repo.commit("saved again")
    (repo.path / name).unlink()
    repo.git("checkout", "-q", "--", name)
    assert repo.digest(name) == digest(good)


def test_options_of_theta_add(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    said = repo.refused("git", "theta", "add", MODEL, "--apply")
    assert "--update-data" in repo.remedy(said, "git theta add --help").stdout
    said = add_adapter(repo, adapter, "--update", "scale")
    repo.write(MODEL, safetensors_bytes(model() | {"layers.1.weight": np.ones(SHAPE, np.float32)}))
    repo.remedy(said, f"git theta add {MODEL} --update low-rank --update-data {adapter}")
    assert repo.staged() == [MODEL]
    repo.git("reset", "-q", "--hard")
    said = add_adapter(repo, adapter, "--update", "low-rnak")
    does(said, "did you mean low-rank?")
    repo.theta("add", MODEL, "--update", "low-rank", "--update-data", str(adapter))
    repo.git("reset", "-q", "--hard")
    said = repo.refused("git", "theta", "add", MODEL, "--scale", "2")
    assert "--scale" in repo.remedy(said, "git theta add --help").stdout
    does(add_adapter(repo, adapter, "--apply", "--scale", "nan"), "give a number, such as --scale 0.5")
    repo.theta("add", MODEL, "--update-data", str(adapter), "--apply", "--scale", "0.5")


def test_file_of_no_known_format(repo: GitRepo) -> None:
    repo.write("notes.pt", "no checkpoint\n")
    said = repo.refused("git", "theta", "add", "notes.pt", "--update", "delta")
    repo.remedy(said, "git add notes.pt")
    assert repo.staged() == ["notes.pt"]


def test_adapter_that_is_no_checkpoint(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    other = adapter.with_name("notes.txt")
    other.write_text("no adapter\n")
    does(add_adapter(repo, other), "give a .safetensors or .bin file")
    stages(repo, adapter)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_config_of_an_adapter(adapted: tuple[GitRepo, Path], text: str) -> None:
    repo, adapter = adapted
    config = adapter.with_name("adapter_config.json")
    config.write_text(text)
    does(add_adapter(repo, adapter), "mend it, or move it away")
    config.write_text(json.dumps({"r": RANK, "lora_alpha": 8}))
    stages(repo, adapter)
    repo.git("reset", "-q", "--hard")
    config.unlink()
    stages(repo, adapter)


def test_adapters_that_do_not_fit(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    whole = adapter.read_bytes()
    a, b = lora()
    twice = {
        f"base_model.model.layers.1.{tail}": np.ones(SHAPE, np.float32)
        for tail in ("weight", "base_layer.weight")
    }
    adapter.write_bytes(safetensors_bytes(twice))
    does(add_adapter(repo, adapter), "check that the adapter was made for this model")
    half = {a: lora()[a]}
    adapter.write_bytes(safetensors_bytes(half))
    does(add_adapter(repo, adapter), "get the whole adapter file")
    for wrong in (
        {a.replace("layers.1", "layers.9"): lora()[a]},
        {a: lora()[a][:, :5].copy(), b: lora()[b]},
    ):
        adapter.write_bytes(safetensors_bytes(wrong))
        does(add_adapter(repo, adapter), "check that the adapter was made for this model")
    adapter.write_bytes(safetensors_bytes(lora() | {"strange": np.ones(3, np.float32)}))
    does(add_adapter(repo, adapter), "save the adapter with peft, or name its tensors TENSOR/R and /C")
    adapter.write_bytes(whole)
    stages(repo, adapter)


def test_adapter_of_a_kind_that_is_not_understood(adapted: tuple[GitRepo, Path]) -> None:
    repo, adapter = adapted
    said = []
    for other in (
        {"init_lora_weights": "pissa"},
        {"layer_replication": [[0, 1], [0, 2]]},
        {"peft_type": "VERA"},
        {"alora_invocation_tokens": [1, 2]},
    ):
        adapter.with_name("adapter_config.json").write_text(json.dumps({"r": RANK, **other}))
        said.append(add_adapter(repo, adapter))
    for one in said:
        does(one, "apply the adapter with the library that made it; git add then finds the update itself")
    a, b = lora().values()
    changed = model()
    changed["layers.1.weight"] = (changed["layers.1.weight"] + 2 * b @ a).astype(np.float32)
    repo.write(MODEL, safetensors_bytes(changed))
    repo.git("add", MODEL)
    assert updates(repo)["layers.1.weight"] == "low-rank"


def test_patterns(repo: GitRepo) -> None:
    said = repo.refused("git", "theta", "track", "../*.pt")
    does(said, "type the command in the folder of the file")
    said = repo.refused("git", "theta", "track", "/elsewhere/*.pt")
    does(said, "type the command in the folder of the file")
    GitRepo(repo.path.parent / "home").run("git", "init", "-q")
    GitRepo(repo.path.parent / "home").theta("track", "*.pt")
    said = repo.refused("git", "theta", "track", "")
    does(said, 'a pattern is like "*.safetensors"')
    repo.theta("track", "*.ckpt")
    said = repo.refused("git", "theta", "track", "!*.ckpt")
    repo.remedy(said, "git theta untrack '*.ckpt'")
    assert "*.ckpt" not in repo.theta("track").stdout


def test_pattern_that_is_tracked_elsewhere(repo: GitRepo) -> None:
    folder = GitRepo(repo.path / "folder")
    folder.path.mkdir()
    said = folder.refused("git", "theta", "untrack", "*.pt")
    does(said, "it is in .gitattributes")
    repo.theta("untrack", "*.pt")
    said = folder.refused("git", "theta", "untrack", "*.pt")
    assert "*.safetensors" in folder.remedy(said, "git theta track").stdout


def test_attributes_that_cannot_be_read(repo: GitRepo) -> None:
    attributes = repo.path / ".gitattributes"
    text = attributes.read_text()
    attributes.unlink()
    attributes.mkdir()
    said = repo.refused("git", "theta", "track", "*.ckpt")
    does(said, "mend its permissions")
    attributes.rmdir()
    attributes.write_text(text)
    repo.theta("track", "*.ckpt")


def test_bare_repositories_track_nothing(history: GitRepo) -> None:
    bare = history.clone("bare.git", "--bare")
    said = bare.refused("git", "theta", "track", "*.bin")
    does(said, "the same in a clone of it")
    history.theta("track", "*.bin")  # of which that is a clone


def test_before_install(plain: GitRepo) -> None:
    plain.write(MODEL, version(0))
    plain.commit("as it is")
    said = plain.theta("track", "*.safetensors").stdout
    plain.remedy(said, "git theta install")
    plain.remedy(said, f"git add --renormalize {MODEL}")
    assert plain.blob(f":{MODEL}").startswith(b'{"git-theta":')


def test_settings_that_make_no_sense(repo: GitRepo) -> None:
    repo.write(MODEL, safetensors_bytes(weights(0, 1)))
    for key, value in [
        ("theta.grouping", "auto"),
        ("theta.maxChainDepth", "10"),
        ("theta.maxChainRatio", "4.0"),
        ("theta.allowDamaged", "true"),
        ("theta.report", "true"),
    ]:
        repo.git("config", key, "perhaps")
        said = repo.refused("git", "add", MODEL)
        repo.remedy(said, f"git config {key} {value}")
    repo.git("add", MODEL)
    assert repo.staged() == [MODEL]
