"""The machine that a driver looks at: every read of /proc, /sys and /dev goes through here.

``root`` is ``/`` on a real machine; a test points it at a small captured tree and answers the few questions that are
system calls. What a device says about itself is foreign text: it comes out cut to length and printable. A file that
is missing or may not be read is an answer ("there is none"), not an error.
"""

from __future__ import annotations

import array
import fcntl
import os
import platform
import re
import socket
import struct
from collections.abc import Iterator, Sequence

from worldos.model.limits import NAME_CHARS_MAX

SIOCGIFCONF = 0x8912
IFREQ_BYTES = 16 + struct.calcsize("LLHBBBxxx")  # a name and a union; its largest member is struct ifmap
ADDRESSES_MAX = 512
TEXT_BYTES_MAX = 64 * 1024
NOT_IN_NAMES = re.compile(r"[^!-.0-~]")


def printable(text: str) -> str:
    """Return what a device calls itself as one short line without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line[:NAME_CHARS_MAX].rstrip()


def local_name(text: str) -> str:
    """Return a device's name as it may stand in ids and addresses: no blanks, no slashes, nothing beyond ASCII."""
    return NOT_IN_NAMES.sub("-", printable(text)) or "-"


class Machine:
    """A view of one machine.

    ``folders`` are the folders in which this node may keep leased files, its home first: storage is offered on the file
    systems that hold them. ``remembered`` is what drivers keep from one sample to the next, by keys of their own.
    """

    def __init__(self, root: str = "/", folders: Sequence[str] = ()) -> None:
        self.root = root.rstrip("/")
        self.folders = tuple(os.path.realpath(folder) for folder in folders)
        self.remembered: dict[str, object] = {}

    # -- files ----------------------------------------------------------------------------------------------------

    def path(self, name: str) -> str:
        """Return where the file that the machine calls ``name`` (``/proc/stat``) really is."""
        return self.root + name

    def text(self, name: str, size_max: int = TEXT_BYTES_MAX) -> str:
        """Return the start of a file, or nothing where there is none."""
        try:
            descriptor = os.open(self.root + name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return ""
        try:
            return _read(descriptor, size_max).decode(errors="replace")
        except OSError:  # sysfs answers EINVAL or ENODEV for a value that the device lacks
            return ""
        finally:
            os.close(descriptor)

    def line(self, name: str) -> str:
        """Return a file of one line as printable text."""
        return printable(self.text(name, 4096).replace("\0", " "))

    def number(self, name: str) -> int | None:
        """Return a file that holds one integer; ``None`` where it holds none."""
        try:
            return int(self.text(name, 64))
        except ValueError:
            return None

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; none where it is missing."""
        try:
            return sorted(os.listdir(self.root + folder))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """Say whether a file is there."""
        return os.path.exists(self.root + name)

    def target(self, name: str) -> str:
        """Return what a symbolic link says, or nothing."""
        try:
            return os.readlink(self.root + name)
        except OSError:
            return ""

    # -- system calls ---------------------------------------------------------------------------------------------

    def cpus(self) -> int:
        """Return how many processors this process may run on."""
        return len(os.sched_getaffinity(0))

    def space(self, folder: str) -> tuple[int, int]:
        """Return the total and the free bytes (for us) of the file system at ``folder``; zeros if it fails."""
        try:
            answer = os.statvfs(folder)
        except OSError:
            return (0, 0)
        return (answer.f_blocks * answer.f_frsize, answer.f_bavail * answer.f_frsize)

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """Return the IP addresses of each network link that has some, those of version 4 first."""
        found: dict[str, list[str]] = {}
        for link, address in (*_addresses_v4(), *self._addresses_v6()):
            found.setdefault(link, []).append(address)
        return {link: tuple(addresses) for link, addresses in sorted(found.items())}

    def _addresses_v6(self) -> Iterator[tuple[str, str]]:
        """Lines are ``address index prefix scope flags link``, all but the last in hexadecimal."""
        for line in self.text("/proc/net/if_inet6").splitlines():
            fields = line.split()
            if len(fields) == 6 and len(fields[0]) == 32:
                yield fields[5], socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0]))

    def system(self) -> tuple[str, str, str]:
        """Return the operating system, its release and the processor, each as the system names it."""
        name = platform.uname()
        return (name.system, name.release, name.machine)


def _read(descriptor: int, size_max: int) -> bytes:
    parts = []
    left = size_max
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _addresses_v4() -> Iterator[tuple[str, str]]:
    """Ask the kernel by SIOCGIFCONF, netdevice(7): a table of ``name[16], sockaddr``. /proc has no such list."""
    table = array.array("B", bytes(ADDRESSES_MAX * IFREQ_BYTES))
    request = struct.pack("iP", len(table), table.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock.fileno(), SIOCGIFCONF, request)
    size, _ = struct.unpack("iP", answer)
    for start in range(0, size, IFREQ_BYTES):
        entry = table[start : start + IFREQ_BYTES].tobytes()
        label = entry[:16].partition(b"\0")[0].decode(errors="replace")
        yield label.partition(":")[0], socket.inet_ntoa(entry[20:24])
