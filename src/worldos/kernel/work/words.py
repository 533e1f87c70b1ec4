"""Words: the one door for commands of the work, whether they come from a program, from a member, or out of the log.

Bytes that are no command, or whose needs nest deeper than what may be encoded again, are refused here and nowhere else.
"""

from __future__ import annotations

import msgspec

from worldos.errors import BadRequest, PeerBroke
from worldos.model import where
from worldos.model.work import Submit, WorkAnswer, WorkCommand

_commands: msgspec.msgpack.Decoder[WorkCommand] = msgspec.msgpack.Decoder(WorkCommand)
_answers: msgspec.msgpack.Decoder[tuple[WorkAnswer, ...]] = msgspec.msgpack.Decoder(tuple[WorkAnswer, ...])
_encoder = msgspec.msgpack.Encoder()


def encode_command(command: WorkCommand) -> bytes:
    """Return the command's bytes."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> WorkCommand:
    """Check and read a command."""
    try:
        command = _commands.decode(data)
        for said in command.said:
            if type(said) is Submit and said.spec.need.where is not None:
                where.check(said.spec.need.where)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("a command to the work that is not one of ours") from cause
    except BadRequest as cause:
        raise PeerBroke("a job with a condition that breaks its bounds") from cause
    return command


def encode_answers(answers: tuple[WorkAnswer, ...]) -> bytes:
    """Return the answers' bytes."""
    return _encoder.encode(answers)


def decode_answers(data: bytes) -> tuple[WorkAnswer, ...]:
    """Check and read answers."""
    try:
        return _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerBroke("answers of the work that are none of ours") from cause
