"""What somebody who is no member tries at a member's doors; says in one line of JSON what came back.

python stranger.py MODE HOST PORT [MORE]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import ssl
import sys
import time
from pathlib import Path

PATIENCE_S = 6.0


def plain(host: str, port: int, data: bytes) -> dict[str, object]:
    """Send bytes; return what came back until the other side closed."""
    began = time.monotonic()
    back = b""
    with socket.create_connection((host, port), timeout=PATIENCE_S) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        try:
            while piece := sock.recv(65536):
                back += piece
            end = "closed"
        except ConnectionError:
            end = "reset"
        except TimeoutError:
            end = "open"
    return {"back": back.hex(), "end": end, "seconds": time.monotonic() - began}


def tls(host: str, port: int, chain: str = "") -> dict[str, object]:
    """Shake hands, with a certificate or without; return what was served inside."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if chain:
        context.load_cert_chain(chain)
    back, end = b"", "closed"
    try:
        with (
            socket.create_connection((host, port), timeout=PATIENCE_S) as raw,
            context.wrap_socket(raw, server_hostname=host) as sock,
        ):
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n" + secrets.token_bytes(1000))
            while piece := sock.recv(65536):
                back += piece
    except ssl.SSLError as error:
        end = str(error.reason)
    except ConnectionError:
        end = "reset"
    except TimeoutError:
        end = "open"
    return {"back": back.hex(), "end": end}


def idle(host: str, port: int, count: int, seconds: float) -> dict[str, object]:
    """Hold many connections open and say nothing; return how many the other side closed."""
    held = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            held.append(socket.create_connection((host, port), timeout=2))
    print("holding", flush=True)
    time.sleep(seconds)
    closed = 0
    for sock in held:
        sock.setblocking(False)
        try:
            closed += sock.recv(1) == b""
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
    return {"held": len(held), "closed": closed}


def datagrams(host: str, port: int, group: str, count: int) -> dict[str, object]:
    """Send random datagrams to a host and to the group; return how many answers came to where they were sent from."""
    box = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    box.settimeout(1.0)
    for number in range(count):
        data = (b"WOS1" if number % 2 else b"") + os.urandom(number % 1400)
        for target in (host, group):
            with contextlib.suppress(OSError):
                box.sendto(data, (target, port))
        if number % 100 == 0:
            time.sleep(0.005)
    answers = 0
    with contextlib.suppress(TimeoutError):
        while box.recv(2048):
            answers += 1
    return {"answers": answers}


def member_of_another(host: str, port: int, node: str, root_hex: str, account: str) -> dict[str, object]:
    """Dial with the real fabric and a key of our own, as if we belonged to the account; return what the fabric saw."""
    from worldos.fabric.host import Fabric, Identity  # noqa: PLC0415 - only here
    from worldos.model.ids import AccountId, NodeId  # noqa: PLC0415
    from worldos.trust.certs import root_certificate  # noqa: PLC0415
    from worldos.trust.keys import DeviceKey  # noqa: PLC0415

    key = DeviceKey.from_seed(secrets.token_bytes(32))
    seen: list[str] = []

    class Notes:
        def __getattr__(self, name: str) -> object:
            return lambda *_: seen.append(name)

    async def story() -> None:
        fabric = Fabric(
            Identity(key=key, account=AccountId(account), boot=1),
            Notes(),  # type: ignore[arg-type]
            members={key.node_id: root_certificate(key), NodeId(node): bytes.fromhex(root_hex)},
            listen=None,
        )
        await fabric.start()
        fabric.connect(NodeId(node), [f"{host}:{port}"])
        fabric.send(NodeId(node), b"let me in")
        await asyncio.sleep(2)
        await fabric.close()

    asyncio.run(story())
    return {"seen": seen}


def main() -> None:
    mode, host, port, *more = sys.argv[1:]
    match mode:
        case "random":
            said = plain(host, int(port), os.urandom(1_000_000))
        case "hello":
            said = plain(host, int(port), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(100_000))
        case "http":
            said = plain(host, int(port), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        case "tls":
            said = tls(host, int(port), *more)
        case "idle":
            said = idle(host, int(port), int(more[0]), float(more[1]))
        case "datagrams":
            said = datagrams(host, int(port), more[0], int(more[1]))
        case "member":
            said = member_of_another(host, int(port), *more)
        case _:
            sys.exit(f"no mode {mode} in {Path(__file__).name}")
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
