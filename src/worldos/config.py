"""The few choices a person would really make: one TOML file, read once, passed down. Where it lies: home.py."""

from __future__ import annotations

import json
import tomllib
from typing import Annotated, Literal

import msgspec

from worldos.errors import BadRequest, DiskFull, NotAllowed
from worldos.home import Home, default_home
from worldos.model.lend import Lend, check_rules

__all__ = ["Home", "Settings", "default_home", "parse_listen", "read_settings", "write_settings"]

PORT_MAX = 65535
PORT_DIGITS = 5
ANY_HOSTS = {"0.0.0.0", "::", "*"}  # noqa: S104 - compared, never bound by itself


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The choices. ``listen`` is empty for loopback only, else ``host:port`` (port 0: any free one).

    ``store_bytes`` is what this machine keeps for stores at most (-1: what its disk can spare, 0: nothing), and ``store_for``
    whose files these may be: those of this account, of accounts that it lends to, or of anybody with a lease. ``lend`` has the
    rules by which it works for others (``wos lend``).
    """

    name: str = ""
    place: str = "home"
    realm: str = ""  # what the account's first device calls its realm; empty: after the machine
    listen: str = ""
    discover: bool = True
    relay: bool = True
    not_on_battery: bool = False
    prices_uwos: dict[str, int] = {}
    store_bytes: Annotated[int, msgspec.Meta(ge=-1)] = -1
    store_for: Literal["me", "family", "others"] = "me"
    lend: Lend = Lend()


def read_settings(home: Home) -> Settings:
    """Read the choices; a missing file means the defaults, a wrong one is named with what is wrong in it."""
    try:
        text = home.config_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except UnicodeDecodeError as cause:
        raise BadRequest(f"{home.config_file} is not text", hint="mend or delete it") from cause
    except OSError as cause:
        hint = f"it must be a file of yours: ls -l {home.config_file}"
        raise NotAllowed(f"{home.config_file} cannot be read", hint=hint) from cause
    try:
        settings = msgspec.convert(tomllib.loads(text), Settings)
        check_rules(settings.lend.rules)
    except tomllib.TOMLDecodeError as cause:
        raise BadRequest(f"{home.config_file} is not TOML: {cause}", hint="mend or delete it") from cause
    except msgspec.ValidationError as cause:
        raise BadRequest(f"{home.config_file}: {cause}", hint="mend or delete that line") from cause
    except BadRequest as cause:
        raise BadRequest(f"{home.config_file}: {cause}", hint="mend or delete its rules of lending") from cause
    return settings


def write_settings(home: Home, settings: Settings) -> None:
    """Write the choices that differ from the defaults, as TOML."""
    lines = [f"{name} = {_toml(value)}" for name, value in _differing(settings)]
    fresh = home.config_file.with_suffix(".new")
    try:
        fresh.write_text("# World OS: the choices of this node\n" + "\n".join(lines) + "\n", encoding="utf-8")
        fresh.chmod(0o600)
        fresh.replace(home.config_file)
    except OSError as cause:
        raise DiskFull(f"{home.config_file} cannot be written") from cause


def _differing(settings: Settings) -> list[tuple[str, object]]:
    default = Settings()
    fields = settings.__struct_fields__
    return [(name, getattr(settings, name)) for name in fields if getattr(settings, name) != getattr(default, name)]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, msgspec.Struct):
        return _toml(msgspec.to_builtins(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        inside = ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items())
        return "{ " + inside + " }"
    return json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # the one character JSON lets pass and TOML does not


def parse_listen(text: str) -> tuple[str, int]:
    """Read ``host:port`` or ``[v6]:port``; a port alone means all addresses (an empty host), and port 0 any free one."""
    host, _, port = (text if ":" in text else f"0.0.0.0:{text}").rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    numbered = port.isascii() and port.isdecimal() and len(port) <= PORT_DIGITS and int(port) <= PORT_MAX
    if not numbered or not host or (not bracketed and set(host) & set("[]:")):
        raise BadRequest(f"not an address to listen at: {text!r}", hint="write it as 0.0.0.0:7370 or [::]:7370")
    bare = host.strip("[]")
    return ("" if bare in ANY_HOSTS else bare, int(port))
