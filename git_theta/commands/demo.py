"""The story of git-theta in one minute: real git commands on a small model, and what they print."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from git_theta import files, values
from git_theta.checkpoints.safetensors import Safetensors
from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.tensors import ArrayTensor

_LAYERS, _WIDTH, _VOCABULARY = 4, 256, 4000
_STEP = 2e-3  # of a full fine-tune, relative to the spread of the weights

Model = dict[str, NDArray[np.float32]]


class Demo:
    """Shows a story in a folder of its own.

    Args:
        folder: is made; the repository, its remote and a clone come to lie in it.
        show: prints a line, without its colours where these are not wanted.
    """

    def __init__(self, folder: Path, show: Callable[[str], None]) -> None:
        self._folder = folder
        self._work = folder / "work"
        self._configuration = folder / "gitconfig"
        self._show = show
        self._random = np.random.default_rng(0)

    def run(self) -> None:
        """Tell the story.

        Raises:
            ThetaError: the folder exists, or a command failed.
        """
        if self._folder.exists() and any(self._folder.iterdir()):
            raise ThetaError(f"{self._folder} is not empty", "git theta demo ANOTHER_FOLDER")
        files.make_folder(self._work)
        self._write_configuration()
        for command in (
            f"git init -q --bare -b main {shlex.quote(str(self._folder.resolve() / 'remote.git'))}",
            "git init -q -b main",
            "git config user.name Demo",
            "git config user.email demo@example.invalid",
            f"git remote add origin {shlex.quote(str(self._folder.resolve() / 'remote.git'))}",
        ):
            self._git(command, quiet=True)
        model = self._save(self._base(), "a base model")
        self._git("git theta install")
        self._git("git theta track '*.safetensors'")
        self._git("git add .gitattributes model.safetensors")
        self._git("git commit -q -m 'Base model'")
        first = self._digest()
        model = self._save(self._with_lora(model), "the model with a LoRA adapter merged into its attention")
        self._git("git theta status")
        self._git("git diff")
        self._git("git commit -q -a -m 'Fine-tune on dialogues'")
        self._merge(model)
        self._show("\n# The old model is back, byte for byte:")
        self._git("git checkout -q HEAD~3")
        self._expect(first)
        self._git("git checkout -q main")
        last = self._digest()
        self._show("\n# Objects travel with the refs:")
        self._git("git push -q origin main")
        self._git(f"git clone -q {shlex.quote(str(self._folder.resolve() / 'remote.git'))} ../clone")
        self._work = self._folder / "clone"
        self._expect(last)
        self._git("git theta ls-files")
        for folder in ("work", "clone"):  # they go on working without the demo's own configuration
            self._work = self._folder / folder
            self._git("git theta install --local", quiet=True)

    def _write_configuration(self) -> None:
        """A global configuration of the demo's own, on top of the user's, so that that one stays as it is.

        In colour, differences are for the eyes: where nobody is to see them, they are followed by a patch.
        """
        users = [Path.home() / ".gitconfig", Path.home() / ".config" / "git" / "config"]
        included = "".join(f"[include]\n\tpath = {file}\n" for file in users if file.exists())
        text = f"{included}[init]\n\tdefaultBranch = main\n[color]\n\tui = always\n"
        files.replace(self._configuration, text.encode())

    def _merge(self, model: Model) -> None:
        self._show("\n# Two people fine-tune the model on two branches; git merge makes one model of them:")
        self._git("git checkout -q -b medicine")
        self._save(self._fine_tuned(model), "a full fine-tune on medicine")
        self._git("git commit -q -a -m 'Fine-tune on medicine'")
        self._git("git checkout -q main")
        self._save(self._fine_tuned(model), "a full fine-tune on law")
        self._git("git commit -q -a -m 'Fine-tune on law'")
        self._git("git theta merge medicine --strategy average -m 'Merge medicine'")

    def _base(self) -> Model:
        model: Model = {"embed.weight": self._normal(_VOCABULARY, _WIDTH, std=0.02)}
        for layer in range(_LAYERS):
            prefix = f"layers.{layer}."
            model[prefix + "norm.weight"] = 1 + self._normal(_WIDTH, std=0.05)
            for name in ("q", "k", "v", "o"):
                model[f"{prefix}attention.{name}.weight"] = self._normal(_WIDTH, _WIDTH, std=0.03)
            model[prefix + "mlp.up.weight"] = self._normal(4 * _WIDTH, _WIDTH, std=0.03)
            model[prefix + "mlp.down.weight"] = self._normal(_WIDTH, 4 * _WIDTH, std=0.025)
        return model

    def _with_lora(self, model: Model) -> Model:
        changed = dict(model)
        for name in model:
            if name.endswith(("attention.q.weight", "attention.v.weight")):
                product = self._normal(_WIDTH, 8, std=0.01) @ self._normal(8, _WIDTH, std=0.01)
                changed[name] = model[name] + product
        return changed

    def _fine_tuned(self, model: Model) -> Model:
        return {k: v + self._normal(*v.shape, std=float(v.std()) * _STEP) for k, v in model.items()}

    def _normal(self, *shape: int, std: float) -> NDArray[np.float32]:
        return self._random.standard_normal(shape, np.float32) * np.float32(std)

    def _save(self, model: Model, what: str) -> Model:
        """Write the work tree's model.safetensors in bfloat16; returns the values that it holds."""
        kind = dtype("BF16")
        bits = {name: values.from_float(array.ravel(), kind) for name, array in model.items()}
        tensors = [(name, ArrayTensor(kind, model[name].shape, raw.tobytes())) for name, raw in bits.items()]
        with files.replacing(self._work / "model.safetensors") as file:
            Safetensors().write(file, tensors, None)
        size = (self._work / "model.safetensors").stat().st_size
        self._show(f"\n# {what[0].upper()}{what[1:]} is saved as model.safetensors ({size / 1e6:.1f} MB)")
        return {name: values.to_float(raw, kind).reshape(model[name].shape) for name, raw in bits.items()}

    def _digest(self) -> str:
        return sha256((self._work / "model.safetensors").read_bytes()).hexdigest()

    def _expect(self, digest: str) -> None:
        self._git("sha256sum model.safetensors")
        if self._digest() != digest:
            raise ThetaError("model.safetensors came back with other bytes", "please report this")
        self._show("# the same bytes as were added")

    def _git(self, command: str, quiet: bool = False) -> None:
        if not quiet:
            self._show(f"$ {command}")
        arguments = shlex.split(command)
        if arguments[0] == "sha256sum":
            self._show(f"{self._digest()}  {arguments[1]}")
            return
        environment = {
            **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
            "GIT_PAGER": "cat",
            "GIT_CONFIG_GLOBAL": str(self._configuration.resolve()),
        }
        done = subprocess.run(arguments, cwd=self._work, env=environment, capture_output=True, text=True)
        output = (done.stdout + done.stderr).rstrip()
        if output and (done.returncode or not quiet):
            self._show(output)
        if done.returncode:
            raise ThetaError(f"{command!r} failed", "git theta doctor")
