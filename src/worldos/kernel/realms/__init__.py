"""The realms that one node belongs to: who is their center, and what this node does for them."""

from worldos.kernel.realms.realms import Realms, RealmsAtStart, begin_realms
from worldos.kernel.realms.table import GUEST

__all__ = ["GUEST", "Realms", "RealmsAtStart", "begin_realms"]
