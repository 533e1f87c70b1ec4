"""``wos run --members N``: one command on several leases that are one private network, as programs by MPI or torch are started.

Each member runs the same command with its number in the environment, by our names and by those that many such programs read:
RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT. What a member puts out is shown by whole lines, with its name before them. All of them
end when the last has ended, or when one fails.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from worldos.errors import BadRequest, NodeGone, WorkerLost
from worldos.lanes import parcel
from worldos.sdk import gang
from worldos.sdk.needs import ttl_of
from worldos.sdk.private_net import PrivateNet
from worldos.sdk.use import TIMEOUT_S

MASTER_PORT: Final = 29500
NOT_FOUND: Final = 127
LINE_S: Final = 0.1
INPUT_BYTES_MAX: Final = 64 * 1024 * 1024


def run_members(members: int, command: list[str], inputs: Sequence[Path], kind: str, amount: str, **words: Any) -> int:
    """Run the command on so many leases; return the exit code of the first that failed, or 0."""
    pieces: list[bytes] = []
    packed = parcel.inputs(inputs, Path.cwd())
    if sum(path.stat().st_size for _, path in packed if path.is_file()) > INPUT_BYTES_MAX:
        hint = "put large files where all can read them: wos put FILE, and read them there"
        raise BadRequest(f"more than {INPUT_BYTES_MAX >> 20} MiB to take along to each member", hint=hint)
    if packed:
        parcel.pack(packed, pieces.append)
    part = gang.wanted(kind, amount, words)
    part = replace(part, need=structs.replace(part.need, workers=1))
    got: gang.Gang[*tuple[Any, ...]] = gang.Gang(gang.get([part] * members, ttl_of(None), 0, TIMEOUT_S))
    with got as handles, PrivateNet.open(handles) as net:
        runs = [
            handle.submit(
                run_one, [*net.prefix(member), *command], environ_of(net, member), pieces, f"{net.names[member]}: "
            )
            for member, handle in enumerate(handles)
        ]
        left = set(runs)
        while left:
            done, left = wait(left, return_when=FIRST_COMPLETED)
            failed = [code for code in (_code(each, net.names[runs.index(each)]) for each in done) if code]
            if failed:
                handles.close()  # the others wait for one that is gone
                return failed[0]
    return 0


def _code(run: Future[int], name: str) -> int:
    """Return the exit code of a member; one that was lost is told of by its name."""
    try:
        return run.result()
    except (NodeGone, WorkerLost) as lost:
        raise NodeGone(f"{name} was lost, and all others were ended: {lost}", hint="run it again") from None


def environ_of(net: PrivateNet, member: int) -> dict[str, str]:
    """Return what a member finds in its environment."""
    return {
        "WOS_MEMBER": str(member),
        "WOS_MEMBERS": ",".join(net.names),
        "WOS_ADDRESS": net.address(member),
        "RANK": str(member),
        "WORLD_SIZE": str(len(net)),
        "MASTER_ADDR": net.names[0],
        "MASTER_PORT": str(MASTER_PORT),
    }


def run_one(argv: list[str], environ: dict[str, str], pieces: list[bytes], name: str) -> int:
    """In the lane: run one member to its end, and print what it puts out; return its exit code as a shell does."""
    if pieces:
        waiting = [*pieces, b""]
        parcel.unpack(Path.cwd(), lambda: waiting.pop(0))
    process = subprocess.Popen(
        argv, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    relay(process, name)
    code = process.wait()
    return 128 - code if code < 0 else code


def relay(process: subprocess.Popen[bytes], name: str) -> None:
    """Print whole lines of both streams until they end."""
    assert process.stdout is not None
    assert process.stderr is not None
    waiting = selectors.DefaultSelector()
    rests: dict[int, bytes] = {}
    for pipe, stream in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
        waiting.register(pipe, selectors.EVENT_READ, stream)
        rests[pipe.fileno()] = b""
    while waiting.get_map():
        for key, _ in waiting.select(LINE_S):
            data = key.fileobj.read1(1 << 16)  # type: ignore[union-attr] # a pipe of ours
            *lines, rests[key.fd] = (rests[key.fd] + data).split(b"\n")
            if not data:
                waiting.unregister(key.fileobj)
                lines += [rests[key.fd]] if rests[key.fd] else []
            for line in lines:
                key.data.write(f"{name}{line.decode('utf-8', 'replace')}\n")
        sys.stdout.write("")  # what was printed is sent on, if enough time has passed
