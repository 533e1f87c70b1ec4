"""Where World OS keeps its things, and the few choices a person would really make: one TOML file, read once, passed down.

Layout of a home (``$WORLDOS_HOME``, default ``~/.local/share/worldos``), all of it mode 0700 or 0600:
``config.toml`` choices; ``device.key`` the 32-byte seed of the device key; ``keylog`` the account's signed entries;
``state`` what is remembered between lives; ``journal/`` events in, one file a life; ``agent.sock`` the local API (or
``agent.path`` naming it, where the home's path is too long for a Unix socket); ``agent.pid`` the lock; ``lanes/`` scratch.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

import msgspec

from worldos.errors import BadRequest

PORT_MAX = 65535
SOCKET_PATH_BYTES_MAX = 100  # sun_path holds 108 with its end; keep room for lane sockets beside it


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The choices. ``listen`` is empty for loopback only, else ``host:port`` (port 0: any free one)."""

    name: str = ""
    place: str = "home"
    listen: str = ""
    discover: bool = True
    relay: bool = True
    lend_percent: int = 100
    not_on_battery: bool = False
    prices_uwos: dict[str, int] = {}


class Home(msgspec.Struct, frozen=True):
    """The folder of one node."""

    path: Path

    @property
    def config_file(self) -> Path:
        """Return the choices' file."""
        return self.path / "config.toml"

    @property
    def key_file(self) -> Path:
        """Return the device key's file."""
        return self.path / "device.key"

    @property
    def keylog_file(self) -> Path:
        """Return the key log's file."""
        return self.path / "keylog"

    @property
    def state_file(self) -> Path:
        """Return the file of what is remembered between lives."""
        return self.path / "state"

    @property
    def journal_folder(self) -> Path:
        """Return the folder of journals."""
        return self.path / "journal"

    @property
    def lock_file(self) -> Path:
        """Return the file that a running agent holds locked."""
        return self.path / "agent.pid"

    @property
    def log_file(self) -> Path:
        """Return the agent's log of notices."""
        return self.path / "agent.log"

    @property
    def run_folder(self) -> Path:
        """Return a folder short enough for Unix sockets, private to this user and this home."""
        if len(bytes(self.path)) + len("/lanes/xxxxxxxx.sock") <= SOCKET_PATH_BYTES_MAX:
            return self.path
        import hashlib  # noqa: PLC0415 - only for long paths

        digest = hashlib.blake2b(bytes(self.path.absolute()), digest_size=8).hexdigest()
        return Path(f"/tmp/wos-{os.getuid()}-{digest}")  # noqa: S108 - made 0700 by the agent, owner checked

    @property
    def socket_file(self) -> Path:
        """Return the local API's socket."""
        return self.run_folder / "agent.sock"


def default_home() -> Home:
    """Return the home that ``$WORLDOS_HOME`` names, else the platform's data folder."""
    named = os.environ.get("WORLDOS_HOME")
    if named:
        return Home(Path(named).expanduser().absolute())
    if sys.platform == "darwin":
        return Home(Path.home() / "Library" / "Application Support" / "worldos")
    data = os.environ.get("XDG_DATA_HOME")
    return Home((Path(data) if data else Path.home() / ".local" / "share") / "worldos")


def read_settings(home: Home) -> Settings:
    """Read the choices; a missing file means the defaults, a wrong one is named with what is wrong in it."""
    try:
        text = home.config_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except UnicodeDecodeError as cause:
        raise BadRequest(f"{home.config_file} is not text", hint="mend or delete it") from cause
    try:
        return msgspec.convert(tomllib.loads(text), Settings)
    except tomllib.TOMLDecodeError as cause:
        raise BadRequest(f"{home.config_file} is not TOML: {cause}", hint="mend or delete it") from cause
    except msgspec.ValidationError as cause:
        raise BadRequest(f"{home.config_file}: {cause}", hint="mend or delete that line") from cause


def write_settings(home: Home, settings: Settings) -> None:
    """Write the choices that differ from the defaults, as TOML."""
    lines = [f"{name} = {_toml(value)}" for name, value in _differing(settings)]
    fresh = home.config_file.with_suffix(".new")
    fresh.write_text("# World OS: the choices of this node\n" + "\n".join(lines) + "\n", encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(home.config_file)


def _differing(settings: Settings) -> list[tuple[str, object]]:
    default = Settings()
    fields = settings.__struct_fields__
    return [(name, getattr(settings, name)) for name in fields if getattr(settings, name) != getattr(default, name)]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items())
        return "{ " + inside + " }"
    return json.dumps(value, ensure_ascii=False)


def parse_listen(text: str) -> tuple[str, int]:
    """Read ``host:port`` or ``[v6]:port``; a port alone means all addresses, and port 0 any free one."""
    host, _, port = (text if ":" in text else f"0.0.0.0:{text}").rpartition(":")
    if not port.isdigit() or int(port) > PORT_MAX or not host:
        raise BadRequest(f"not an address to listen at: {text!r}", hint="write it as 0.0.0.0:7370 or [::]:7370")
    return (host.strip("[]"), int(port))
