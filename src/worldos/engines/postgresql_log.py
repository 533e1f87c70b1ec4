"""PostgreSQL as the source of an archive, and its beginning from one: pg_receivewal and pg_basebackup on the seat.

``pg_receivewal`` is one more process beside the server; it takes the log by a slot, so the server keeps what it has not got yet.
What is left of a database is a base and the log since: unpacked and laid into ``pg_wal``, the server replays it as after a crash
of its own, to its end, and stays on the first timeline. Commits wait for none of this. Source: postgresql.org/docs,
"Continuous Archiving and Point-in-Time Recovery"; src/backend/access/transam/xlogrecovery.c (backup_label without a signal file).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from worldos.engines import tender, wal
from worldos.engines.archive import Base, Left
from worldos.engines.cluster import Cluster
from worldos.engines.limits import DUMP_PIECE_BYTES
from worldos.engines.plan import Process
from worldos.errors import PeerBroke, WorldError

SLOT: Final = "wos"
BASE: Final = "base.tar"
MANIFEST: Final = "backup_manifest"
TAKE: Final = (
    'rm -rf base "$1" && "$0" -D base -Ft -X none -c fast --no-sync --manifest-checksums=NONE --no-password'
    ' && mv "base/$1" "base/$2" . && rmdir base'
)
UNPACK: Final = 'mkdir -m 700 data && tar --no-same-owner -xf "$0" -C data && rm "$0"'
LAY: Final = f'for each in 0*; do truncate -s {wal.SEGMENT_BYTES} "$each" && mv "$each" data/pg_wal/ || exit 1; done'


class _Range(msgspec.Struct, frozen=True, rename={"start": "Start-LSN", "end": "End-LSN", "timeline": "Timeline"}):
    start: str
    end: str
    timeline: int


class _Manifest(msgspec.Struct, frozen=True, rename={"ranges": "WAL-Ranges"}):
    ranges: Annotated[tuple[_Range, ...], msgspec.Meta(min_length=1)]


_read_manifest = msgspec.json.Decoder(_Manifest)


class ServerLog:
    """The log of the server in the first seat. ``env`` is what its tools need to reach it."""

    def __init__(self, cluster: Cluster, env: Mapping[str, str], major: int, password: str) -> None:
        self.major = major
        self.password = password
        self._cluster = cluster
        self._env = dict(env)

    def begin(self) -> None:
        """Have the log received from now on."""
        receive = ("{bin}/pg_receivewal", "-D", "{work}", "--slot", SLOT, "--no-password")
        receiver = Process(
            name="pg_receivewal",
            argv=(*receive, "--no-sync", "--verbose"),
            before=((*receive, "--create-slot", "--if-not-exists"),),
            env=self._env,
            ready="starting log streaming",
            not_root=True,
            again=True,
        )
        self._cluster.begin({0: [receiver]})

    def check(self) -> None:
        """Raise why the log is not received any more; what receives it is begun again a few times."""
        for process in self._cluster.result(0, self._cluster.call(0, tender.look, 0.0)):
            if process.code is not None:
                raise WorldError(f"{process.name} ended with {process.code}: {tender.last_words(process.said)}")

    def base(self) -> Base:
        """Take a base backup."""
        argv = ("sh", "-c", TAKE, "{bin}/pg_basebackup", BASE, MANIFEST)
        ran = self._cluster.run(0, argv, env=self._env, not_root=True, limit_s=None)
        done(ran.code, ran.said, "no base backup can be taken")
        start, end = _range(b"".join(read_file(self._cluster, MANIFEST)))
        return Base(start, end, read_file(self._cluster, BASE))

    def news(self, position: int, most_bytes: int) -> wal.News:
        """Return what the log has from a position on."""
        return self._cluster.result(0, self._cluster.call(0, wal.news, position, most_bytes))

    def waiting_bytes(self, position: int) -> int:
        """Return how much of the log waits beyond a position."""
        return self._cluster.result(0, self._cluster.call(0, wal.waiting_bytes, position))

    def let_go(self, position: int) -> None:
        """Give back the room of the log before a position."""
        self._cluster.result(0, self._cluster.call(0, wal.let_go, position))


def restore(cluster: Cluster, left: Left) -> None:
    """Lay what is left of a database into the data folder of the first seat, for a server that begins there."""
    write_file(cluster, BASE, left.base())
    _sh(cluster, UNPACK, BASE)
    for name, offset, data in left.log():
        cluster.result(0, cluster.call(0, tender.write, name, offset, data))
    _sh(cluster, LAY)


def read_file(cluster: Cluster, name: str) -> Iterator[bytes]:
    """Yield a file of the working folder of the first seat."""
    offset = 0
    while piece := cluster.result(0, cluster.call(0, tender.read, name, offset, DUMP_PIECE_BYTES)):
        yield piece
        offset += len(piece)


def write_file(cluster: Cluster, name: str, data: Iterator[bytes]) -> None:
    """Write a file into the working folder of the first seat."""
    offset = 0
    for piece in data:
        cluster.result(0, cluster.call(0, tender.write, name, offset, piece))
        offset += len(piece)


def done(code: int, said: str, otherwise: str) -> None:
    """Raise what a tool said where it did not end well."""
    if code:
        raise WorldError(f"{otherwise}: {tender.last_words(said)}")


def _sh(cluster: Cluster, script: str, *words: str) -> None:
    ran = cluster.run(0, ("sh", "-c", script, *words), env={}, not_root=True, limit_s=None)
    done(ran.code, ran.said, "the archive of the database cannot be unpacked")


def _range(manifest: bytes) -> tuple[int, int]:
    """Return from where to where the log is needed for a base to be one state."""
    try:
        ranges = _read_manifest.decode(manifest).ranges
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("pg_basebackup wrote no manifest that can be read") from cause
    if len(ranges) != 1 or ranges[0].timeline != wal.TIMELINE:
        raise PeerBroke("the base backup is not of one timeline")
    return wal.position_of(ranges[0].start), wal.position_of(ranges[0].end)
