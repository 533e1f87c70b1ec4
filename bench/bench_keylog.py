"""How long does a node take to believe the key log of an account of a thousand devices?

Back of the envelope: an Ed25519 check is 53 us on this kind of core (research: 18.6 k/s), and each admission has two, so a
log that is checked entry by entry cannot take less than 106 ms for a thousand devices. A snapshot has one signature, and a
hash and a decoding for each entry that it keeps: about 15 us each, so some 20 ms. Prints both, what they come to, and the
floor of the signatures from the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from worldos.trust.certs import root_certificate
from worldos.trust.entries import accept_claim
from worldos.trust.keylog import KeyLog, add_device, new_account
from worldos.trust.keys import DeviceKey, verify
from worldos.trust.sayings import snapshot, witness

DEVICES = 1000
ROUNDS = 5


def grown_log(devices: int) -> tuple[KeyLog, DeviceKey]:
    """Make a log in which the words admitted a first device, and that all others."""
    log, recovery = KeyLog(), DeviceKey.from_seed(b"r" * 32)
    log.merge([new_account(b"r" * 32)])
    signer = recovery
    for number in range(devices):
        device = DeviceKey.from_seed(number.to_bytes(32, "big"))
        claim = accept_claim(device, log.account, f"device {number}", root_certificate(device), bytes(32))
        log.merge([add_device(log, signer, claim)])
        if number == 0:
            signer = device
    return log, recovery


def median_ms(act: Callable[[], object]) -> float:
    """Return the median time of some rounds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def main() -> None:
    """Make the log, and read it both ways."""
    log, recovery = grown_log(DEVICES)
    whole = list(log.entries.values())
    made = snapshot(log, recovery)
    log.merge([made])
    short_log = KeyLog(entries=dict(log.entries))
    forgotten = short_log.forget_before(log.snapshot_to_forget_before())
    short = list(short_log.entries.values())
    key, message = DeviceKey.from_seed(b"v" * 32), b"m" * 700
    signature = key.sign("bench", message)

    def floor() -> None:
        for _ in range(2 * DEVICES):
            verify(key.public, "bench", message, signature)

    def members(entries: list) -> None:  # type: ignore[type-arg]
        fresh = KeyLog()
        fresh.merge(entries)
        assert len(fresh.members().active) == DEVICES

    floor_ms, whole_ms, short_ms = (
        median_ms(floor),
        median_ms(lambda: members(whole)),
        median_ms(lambda: members(short)),
    )
    size = [sum(len(e.body) + len(e.signature) for e in entries) // 1024 for entries in (whole, short)]
    print(f"key log of {DEVICES} devices ({len(whole)} and {len(short)} entries, {size[0]} and {size[1]} KiB)")
    print(f"  two signatures each, alone        {floor_ms:8.1f} ms   1.00")
    print(f"  the whole log, believed by none   {whole_ms:8.1f} ms   {whole_ms / floor_ms:.2f}")
    print(f"  the same from its snapshot        {short_ms:8.1f} ms   {short_ms / floor_ms:.2f}   target 100 ms")
    print(f"  forgotten with the snapshot       {forgotten:8d} entries")
    device = DeviceKey.from_seed((0).to_bytes(32, "big"))
    fresh = KeyLog(entries=dict(short_log.entries))
    fresh.members()

    def say() -> None:
        fresh.merge([witness(fresh, device, 1_700_000_000 + len(fresh.entries))])
        fresh.members()

    print(f"  one more entry, and who is in     {median_ms(say):8.1f} ms")


if __name__ == "__main__":
    main()
