"""The bounds of lanes and of what runs in them. Bytes, seconds, pieces."""

from __future__ import annotations

from typing import Final

MB: Final = 1_000_000
GB: Final = 1_000_000_000

START_SECONDS: Final = 20.0  # for a worker, and for the room of a sandbox
PACKETS_PER_TURN_MAX: Final = 64  # of one sandbox, before the agent does other things
PROCESSES_MAX: Final = 512  # in one sandboxed lease, beside the cgroup's own bound
TEMPORARY_BYTES_MAX: Final = 256 * MB  # of a sandbox's /tmp, in the memory of the lease
SHARED_BYTES_MAX: Final = 256 * MB  # of its /dev/shm
SANDBOX_MEMORY_BYTES: Final = 2 * GB  # for a lease of others that did not say how much memory it takes
SANDBOX_DISK_BYTES: Final = 4 * GB  # for one that did not say how much disk
SANDBOX_FILES_MAX: Final = 200_000  # files and folders in a sandbox's own folder
SPARE_SECONDS: Final = 600.0  # so long a sandbox that nobody takes is kept ready
SANDBOX_DEPTH_MAX: Final = 64  # of folders in folders there
HELD_MAX: Final = 50_000  # descriptors and mappings of a lease that are looked through for files without a name
SANDBOX_OPEN_MAX: Final = 4096  # descriptors of one process in a sandbox
