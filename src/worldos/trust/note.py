"""Signed notes: text that says who signed it, and the checkpoint of a log in that form.

A note is text that ends in a newline, an empty line, and lines of signatures: a dash, the name of the key, and in base64 four
bytes that name the key and its kind, then the signature. A checkpoint is a note of three lines: whose log, how many leaves,
the root. Its log signs it plainly (kind 1); a witness adds a cosignature (kind 4) with the second in which it saw it.

The name of a log is ``worldos/log/NODE`` and that of a witness ``worldos/witness/NODE``: an id is a public key, so a name is
all that is needed to check what was signed. No text of a note has a zero byte, which all else that a device signs has
(trust/keys.py), so neither can be shown for the other. Every check raises ``PeerBroke`` or ``BadSignature``.
Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature (v1).
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import Final, NamedTuple

from worldos.errors import BadSignature, PeerBroke
from worldos.model.ids import NodeId
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, public_of, verify_note
from worldos.trust.merkle import HASH_BYTES, SIZE_MAX

NOTE_BYTES_MAX: Final = 8192
SIGNATURES_MAX: Final = 32
PLAIN, COSIGNED = 1, 4
LOG, WITNESS = "worldos/log/", "worldos/witness/"
_DASH: Final = "\N{EM DASH} "
_KEY_BYTES: Final = 4
_MOMENT_BYTES: Final = 8
_NAME_CHARS_MAX: Final = 255


class Line(NamedTuple):
    """A line of a signature: whose key, its four bytes, and what was signed with it."""

    name: str
    key: bytes
    signature: bytes


class Note(NamedTuple):
    """A text with the signatures under it, none of them checked."""

    text: str
    lines: tuple[Line, ...]


class Checkpoint(NamedTuple):
    """What a log commits to: its whole content, in 32 bytes."""

    origin: str
    size: int
    root: bytes


class Cosignature(NamedTuple):
    """A witness saw this checkpoint, in the second ``at_s`` of its own clock, and that it goes on from those before."""

    witness: NodeId
    at_s: int


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the four bytes that name a key and the kind of its signatures."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_KEY_BYTES]


def read_note(data: bytes) -> Note:
    """Read a note of anybody's; raise PeerBroke for what is none."""
    if len(data) > NOTE_BYTES_MAX:
        raise PeerBroke(f"a note of {len(data)} bytes, at most {NOTE_BYTES_MAX} are allowed")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise PeerBroke("a note that is no text") from cause
    if any(char < " " and char != "\n" for char in whole):
        raise PeerBroke("a note with a control character")
    text, empty, signatures = whole.rpartition("\n\n")
    if not empty or not signatures.endswith("\n"):
        raise PeerBroke("a note has a text, an empty line, and signatures")
    lines = signatures[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise PeerBroke(f"a note has at most {SIGNATURES_MAX} signatures")
    return Note(text + "\n", tuple(_read_line(line) for line in lines))


def write_note(note: Note) -> bytes:
    """Return the bytes of a note."""
    return (note.text + "\n" + "".join(_write_line(line) for line in note.lines)).encode()


def read_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint, which may have lines that we do not know."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or "" in lines[:-1]:
        raise PeerBroke("a checkpoint has a log, a size and a root")
    origin, size, root = lines[:3]
    if not size.isascii() or not size.isdecimal() or str(int(size[:20])) != size or int(size) > SIZE_MAX:
        raise PeerBroke("a checkpoint of no size")
    hashed = _from_base64(root)
    if len(hashed) != HASH_BYTES or len(origin) > _NAME_CHARS_MAX:
        raise PeerBroke("a checkpoint without a root")
    return Checkpoint(origin, int(size), hashed)


def write_checkpoint(checkpoint: Checkpoint) -> str:
    """Return the text of a checkpoint."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{_to_base64(checkpoint.root)}\n"


def sign_checkpoint(key: DeviceKey, size: int, root: bytes) -> bytes:
    """Say as this device what its log is now."""
    name = LOG + key.node_id
    text = write_checkpoint(Checkpoint(name, size, root))
    line = Line(name, key_id(name, PLAIN, key.public), key.sign_note(text.encode()))
    return write_note(Note(text, (line,)))


def cosign(key: DeviceKey, text: str, at_s: int) -> str:
    """Return the line with which a witness says that it saw this checkpoint and that it goes on from those before."""
    name = WITNESS + key.node_id
    signed = at_s.to_bytes(_MOMENT_BYTES, "big") + key.sign_note(_cosigned(text, at_s))
    return _write_line(Line(name, key_id(name, COSIGNED, key.public), signed))


def check_checkpoint(data: bytes, log: NodeId) -> tuple[Note, Checkpoint]:
    """Read a checkpoint that the log of this node signed; raise BadSignature or PeerBroke if it did not."""
    note = read_note(data)
    checkpoint = read_checkpoint(note.text)
    if checkpoint.origin != LOG + log:
        raise PeerBroke("a checkpoint of another log")
    public = public_of(log)
    key = key_id(checkpoint.origin, PLAIN, public)
    signed = [line.signature for line in note.lines if (line.name, line.key) == (checkpoint.origin, key)]
    if not signed:
        raise BadSignature("the log did not sign this checkpoint")
    for signature in signed:
        verify_note(public, note.text.encode(), signature)
    return note, checkpoint


def log_of(data: bytes) -> NodeId:
    """Return whose log a checkpoint says it is of, unchecked; PeerBroke where that is nobody's."""
    origin = read_checkpoint(read_note(data).text).origin
    if not origin.startswith(LOG):
        raise PeerBroke("a checkpoint of a log that is none of ours")
    public_of(origin.removeprefix(LOG))
    return NodeId(origin.removeprefix(LOG))


def check_cosignature(text: str, line: Line) -> Cosignature:
    """Return who cosigned and when; raise BadSignature or PeerBroke where nobody did."""
    if not line.name.startswith(WITNESS):
        raise PeerBroke("a cosignature of nobody we know the key of")
    witness = NodeId(line.name.removeprefix(WITNESS))
    public = public_of(witness)
    if line.key != key_id(line.name, COSIGNED, public) or len(line.signature) != _MOMENT_BYTES + SIGNATURE_BYTES:
        raise BadSignature("a cosignature of another kind or key")
    at_s = int.from_bytes(line.signature[:_MOMENT_BYTES], "big")
    if at_s >= 2**63:
        raise PeerBroke("a cosignature of no time")
    verify_note(public, _cosigned(text, at_s), line.signature[_MOMENT_BYTES:])
    return Cosignature(witness, at_s)


def cosignatures(note: Note) -> tuple[Cosignature, ...]:
    """Return the witnesses whose cosignatures under a note are good, each once; what is none is passed over."""
    found: dict[NodeId, Cosignature] = {}
    for line in note.lines:
        if not line.name.startswith(WITNESS):
            continue
        try:
            seen = check_cosignature(note.text, line)
        except (BadSignature, PeerBroke):
            continue
        found.setdefault(seen.witness, seen)
    return tuple(found[witness] for witness in sorted(found))


def read_signature(line: str) -> Line:
    """Read one line of a signature, as a witness sends it."""
    if not line.endswith("\n") or "\n" in line[:-1] or len(line) > NOTE_BYTES_MAX:
        raise PeerBroke("a signature is one line")
    return _read_line(line[:-1])


def verify_plain(name: str, public: bytes, note: Note) -> None:
    """Raise BadSignature unless a key of any name signed the note plainly."""
    known = [line for line in note.lines if (line.name, line.key) == (name, key_id(name, PLAIN, public))]
    if not known:
        raise BadSignature("this key did not sign the note")
    for line in known:
        verify_note(public, note.text.encode(), line.signature)


def _cosigned(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def _read_line(line: str) -> Line:
    name, space, signed = line.removeprefix(_DASH).rpartition(" ")
    if not line.startswith(_DASH) or not space or not name or len(name) > _NAME_CHARS_MAX:
        raise PeerBroke("a line of a note that is no signature")
    if "+" in name or any(char.isspace() for char in name):
        raise PeerBroke("the name of a key has a space or a plus")
    signature = _from_base64(signed)
    if len(signature) <= _KEY_BYTES:
        raise PeerBroke("a signature that is too short")
    return Line(name, signature[:_KEY_BYTES], signature[_KEY_BYTES:])


def _write_line(line: Line) -> str:
    return f"{_DASH}{line.name} {_to_base64(line.key + line.signature)}\n"


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as cause:
        raise PeerBroke("what should be base64 is none") from cause
    if _to_base64(data) != text:  # spare bits: a second spelling of the same bytes
        raise PeerBroke("base64 that is not spelt in the one right way")
    return data
