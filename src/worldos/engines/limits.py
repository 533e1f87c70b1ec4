"""Bounds of engines, each with its unit."""

from __future__ import annotations

from typing import Final

NODES_MAX: Final = 64  # of one engine: as many parts as a gang may have
PROCESSES_MAX: Final = 64  # of an engine on one node
PACKAGES_MAX: Final = 100  # that an environment is asked to have
PACKAGE_CHARS_MAX: Final = 200
FILE_BYTES_MAX: Final = 1 << 20  # a configuration, a certificate
TAIL_BYTES: Final = 16 * 1024  # of what a process said, kept for who asks why it ended
INSTALL_SECONDS: Final = 900.0
START_SECONDS: Final = 120.0  # on a machine that is busy with other things
TOOL_SECONDS: Final = 60.0
END_SECONDS: Final = 8.0  # for a process to end by itself; then it is killed
LOOK_SECONDS: Final = 0.5  # one look at the processes of a node waits no longer for news
CALL_SECONDS: Final = 30.0  # within which a node answers a look
DUMP_BYTES_MAX: Final = 16 << 30
DUMP_PIECE_BYTES: Final = 4 << 20
DUMP_EVERY_SECONDS: Final = 300.0
DUMP_EVERY_ARCHIVED_SECONDS: Final = 3600.0  # where the log is kept as well
ARCHIVE_EVERY_SECONDS: Final = 5.0  # the log of a database is kept so often, if there is news
FIRST_BEAT_SECONDS: Final = 1.0  # ... and for the first time so soon: a shorter use does not pay for a base backup
WAL_READ_BYTES: Final = 4 << 20  # of the log at a time
TAIL_BYTES_MAX: Final = 256 << 10  # of the log in the front of an archive; more becomes a part
PIECES_MAX: Final = 4096  # parts of the log before a new base is taken
LOG_BYTES_MIN: Final = 256 << 20  # ... and so much of the log, or LOG_PER_BASE times the base if that is more
LOG_PER_BASE: Final = 2
LAG_BYTES_MAX: Final = 1 << 30  # of the log that waits at the server, where it cannot be kept
