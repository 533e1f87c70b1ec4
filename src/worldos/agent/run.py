"""Running an agent as a process: its event loop, its signals, its beginning and its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress

from worldos.agent import home as homes
from worldos.agent.agent import Agent
from worldos.agent.orders.orders import Orders
from worldos.agent.start import embedded, open_home, temporary_home
from worldos.agent.transfer import become_theirs
from worldos.config import Home, parse_listen
from worldos.errors import BadRequest, Unreachable

SWITCH_INTERVAL_S = 0.0005  # a busy thread holds the loop up for 0.5 ms at most, not 5 (measured: FINDINGS)

Say = Callable[[str], None]


def run(home: Home, listen: str | None, say: Say) -> None:
    """Live a node on a home until SIGTERM, Ctrl-C or ``wos down``."""
    homes.make_folder(home.path)
    become_theirs(home)
    os.environ["WORLDOS_HOME"] = str(home.path)  # work that runs here finds this machine's own agent, and its files
    lock = homes.lock(home)
    try:
        started = open_home(home)
        wanted = started.settings.listen if listen is None else listen
        address = parse_listen(wanted) if wanted else ("127.0.0.1", 0)
        agent = Agent(started)
        agent.reachable = bool(wanted)
        _loop(lambda: _live(agent, say, listen=address))
    finally:
        os.close(lock)
    if become_theirs(home):
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this program again, with nothing of the old owner in memory


def run_embedded(say: Say) -> None:
    """Live a node for one program: until its end of standard input closes, however it ends."""
    home = temporary_home()
    try:
        agent = Agent(embedded(home))
        _loop(lambda: _live(agent, say, listen=None))
    finally:
        shutil.rmtree(home.path, ignore_errors=True)


async def _live(agent: Agent, say: Say, *, listen: tuple[str, int] | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, agent.stopped.set)
    if listen is None:
        loop.add_reader(0, _read_stdin, agent)
    else:
        from worldos.agent.network import Network  # noqa: PLC0415 - an embedded node does without TLS and pairing

        agent.network = Network(agent.started, listen, agent.lanes.path_of, agent, agent.depots, agent.nets)
    try:
        await agent.start(Orders())
    except OSError as cause:
        if agent.statements is not None:
            agent.statements.close()  # its timer would find a loop that ends
        if listen is not None and cause.errno:
            where = f"{listen[0]}:{listen[1]}"
            hint = "name another port with --listen, or port 0 for any free one"
            why = cause.strerror if isinstance(cause, socket.gaierror) else os.strerror(cause.errno)
            raise BadRequest(f"cannot listen at {where}: {why}", hint=hint) from None
        raise Unreachable(str(cause)) from cause
    say(f"ready {agent.home.socket_file}")
    try:
        await agent.stopped.wait()
    finally:
        await agent.close()


def _read_stdin(agent: Agent) -> None:
    data = b""
    with suppress(OSError):
        data = os.read(0, 4096)
    if not data:
        asyncio.get_running_loop().remove_reader(0)
        agent.stopped.set()


def _loop(main: Callable[[], Coroutine[None, None, None]]) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        asyncio.run(main())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
