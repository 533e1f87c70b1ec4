"""An agent whose machine lies: tasks that run there find WOS_LIES in their environment, and do as they are told by it.

Nobody sits at it, so guests do not starve while this machine is busy with other tests.

python liar.py PYTHON -m worldos.agent OPTIONS...      (as RunningAgent starts an agent behind a prefix)
"""

from __future__ import annotations

import os
import sys

import msgspec

from worldos.agent.__main__ import main
from worldos.agent.comfort import PLAIN_GUESTS
from worldos.lanes.host import LaneHost, LaneSpec, WorkerDoor

honest = LaneHost.open_lease


async def lying(self: LaneHost, lease_id: str, spec: LaneSpec) -> list[WorkerDoor]:
    """Open the lease as ever, but for one word."""
    return await honest(self, lease_id, msgspec.structs.replace(spec, env={**spec.env, "WOS_LIES": "1"}))


if __name__ == "__main__":
    os.environ[PLAIN_GUESTS] = "1"
    LaneHost.open_lease = lying  # type: ignore[method-assign]
    del sys.argv[1:4]
    sys.exit(main())
