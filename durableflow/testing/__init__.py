"""For tests of your own: replay stored histories against today's code, before it ships."""

from durableflow.testing.histories import History as History
from durableflow.testing.histories import export_history as export_history
from durableflow.testing.histories import read_history as read_history
from durableflow.testing.replaying import Replayed as Replayed
from durableflow.testing.replaying import replay as replay
from durableflow.testing.replaying import replay_each as replay_each

__all__ = ["History", "Replayed", "export_history", "read_history", "replay", "replay_each"]
