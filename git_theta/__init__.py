"""git-theta: a Git extension that versions model checkpoints, tensor by tensor."""

__version__ = "0.1.0"
