"""Orders about profiles: what programs here learned of their functions, kept for those that come after (kernel/profile.py).

They lie in the file ``profiles`` of the home. Who loses it learns anew. Beside them what the line learned of its commands.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.agent.home import make_folder, write_durably
from worldos.errors import DiskFull, PeerBroke, Unreachable
from worldos.kernel.profile import PERMILLE, Profiles
from worldos.kernel.work.look import CommandView, read_commands
from worldos.model.work_wire import WorkAsk

FILE = "profiles"


COMMANDS_SHOWN_MAX = 200


async def _commands(agent: Agent) -> tuple[CommandView, ...]:
    """Return what the line knows of commands; nothing where there is no line, or nobody answers for it now."""
    if agent.node.realms.off or agent.work.site.works() is False:
        return ()
    with suppress(Unreachable):
        return read_commands(await agent.work.ask(WorkAsk(number=0, look="commands", count=COMMANDS_SHOWN_MAX)))
    return ()


class ProfileOrders:
    """The orders about profiles, by name."""

    _profiles: Profiles | None = None

    async def order_profiles(self, agent: Agent, call: Call) -> bytes:
        """All that was learned, as a program takes it in."""
        return self._table(agent).snapshot()

    async def order_profiles_learned(self, agent: Agent, call: Call, learned: bytes) -> None:
        """A program learned this."""
        table = self._table(agent)
        table.merge(Profiles.restore(learned))
        file = agent.started.home.path / FILE
        with suppress(DiskFull):  # then it is learned anew in the next life
            make_folder(file.parent)
            write_durably(file, table.snapshot())

    async def order_profile_show(self, agent: Agent, call: Call) -> dict[str, list[dict[str, Any]]]:
        """The functions, those used last first, the ways, and the commands of jobs."""
        commands = await _commands(agent)
        table = self._table(agent)
        functions = sorted(table.functions.items(), key=lambda item: (-item[1].used, item[0]))
        names = {node: offer.name for node, offer in agent.node.registry.offers.items()}
        return {
            "functions": [
                {
                    "function": profile.name or digest[:12],
                    "digest": digest,
                    "runs": profile.wall_us.count,
                    "wall_us": profile.wall_us.mean,
                    "deviation_us": profile.wall_us.deviation,
                    "cpu_percent": profile.cpu_permille * 100 // PERMILLE,
                    "in_bytes": profile.in_bytes.mean,
                    "out_bytes": profile.out_bytes.mean,
                    "read_bytes": profile.read_bytes.mean,
                    "written_bytes": profile.written_bytes.mean,
                    "memory_bytes": profile.memory.value,
                    "on": {names.get(node, node[:8]): mean.mean for node, mean in sorted(profile.on.items())},
                }
                for digest, profile in functions
                if profile.wall_us.count
            ],
            "ways": [
                {"node": names.get(node, node[:8]), "bytes_s": way.rate_bytes_s, "trip_us": way.trip_us}
                for node, way in sorted(table.ways.items())
            ],
            "commands": [
                {
                    "command": each.command,
                    "tasks": each.tasks,
                    "wall_us": each.mean_us,
                    "memory_bytes": each.memory_bytes,
                }
                for each in commands
            ],
        }

    def _table(self, agent: Agent) -> Profiles:
        if self._profiles is None:
            self._profiles = Profiles()
            with suppress(OSError, PeerBroke):
                self._profiles = Profiles.restore((agent.started.home.path / FILE).read_bytes())
        return self._profiles
