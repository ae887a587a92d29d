"""What plug-ins must pass: a class of tests for each kind, which git-theta's own plug-ins run as well.

Subclass one in a test file, and pytest runs its tests: see docs/plugins.md. Nothing else imports this room.
"""

import sys

if "pytest" in sys.modules:  # so that what fails is shown with its values
    sys.modules["pytest"].register_assert_rewrite(
        *(f"{__name__}.{module}" for module in ("formats", "remotes", "strategies", "updates"))
    )

from git_theta.testing.formats import FormatContract
from git_theta.testing.remotes import RemoteContract
from git_theta.testing.strategies import StrategyContract
from git_theta.testing.updates import UpdateContract

__all__ = ["FormatContract", "RemoteContract", "StrategyContract", "UpdateContract"]
