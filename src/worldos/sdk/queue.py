"""A durable queue of the site: ``with use("Queue", name="frames") as q: q.put(x)``, and on any machine ``q.get()``.

What ``put`` came back from is on the disks of a majority of those that keep the site's work. A message is handed out *at least*
once: to one consumer at a time, hidden from others for ``visible`` seconds, and again if it is not acknowledged by then. One that
was handed out too often goes to the queue's dead letters (``q.dead``). Order is that of arrival, but for what comes back.

A body is bytes with one letter before them that says what they are: ``b`` bytes, ``t`` text in UTF-8, ``j`` JSON, ``p`` a Python
object (cloudpickle). So programs in other languages can read and write all but the last. A queue used with ``form="json"`` or
``"bytes"`` loads no pickle, whoever put one there. Units: seconds, bytes.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from types import TracebackType
from typing import Any, Final, Literal, Self

import cloudpickle

from worldos.errors import BadRequest, NoAgent, NotThere, OverQuota, Refused
from worldos.home import Home, default_home
from worldos.kernel.queues.queues import QueueView
from worldos.kernel.work.limits import ASK_NS
from worldos.kernel.work.look import read_queue
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.limits import SECOND
from worldos.model.work import (
    MESSAGE_BYTES_MAX,
    MESSAGES_MAX,
    Ack,
    Applied,
    Extend,
    Nack,
    Put,
    QueueCommand,
    QueueMade,
    Take,
    WorkCommand,
)
from worldos.model.work import Message as Kept
from worldos.sdk.asking import Asking
from worldos.sdk.connection import program_name

Form = Literal["pickle", "json", "bytes"]
FORMS: Final = ("pickle", "json", "bytes")
BYTES, TEXT, JSON, PICKLE = b"b", b"t", b"j", b"p"
ID_BYTES: Final = 16
BATCH_BYTES: Final = 256 * 1024  # of bodies in one command
WAIT_MS_MAX: Final = 20_000  # so long one taking waits; then it is asked again
ANSWER_S: Final = ASK_NS / SECOND + 15.0
AGENT_BACK_S: Final = 15.0  # an agent that ended may be back by then
AGAIN_S: Final = 0.2
MS: Final = 1000


class Empty(queue.Empty):
    """Nothing came in time."""


class Message:
    """A message in this consumer's hands. In a ``with`` block it is acknowledged at the end, or given back after an error."""

    def __init__(self, owner: Queue, kept: Kept, deliveries: int) -> None:
        self._queue = owner
        self._kept = kept
        self._settled = False
        self.deliveries = deliveries

    @property
    def id(self) -> bytes:
        """The id of the message."""
        return self._kept.id

    @property
    def raw(self) -> bytes:
        """The body as it lies in the queue, with the letter before it."""
        return self._kept.body

    @property
    def body(self) -> Any:
        """What was put."""
        return self._queue.loaded(self._kept.body)

    @property
    def settled(self) -> bool:
        """Whether it was acknowledged or given back."""
        return self._settled

    def ack(self) -> bool:
        """Be done with it; False if it was handed to another meanwhile, because it took too long."""
        self._settled = True
        return not self._queue.ack(self)

    def nack(self) -> None:
        """Give it back: others get it at once."""
        self._settled = True
        self._queue.nack(self)

    def extend(self, seconds: float) -> bool:
        """Hold it for so long from now; False if another has it."""
        return not self._queue.extend(seconds, self)

    def __enter__(self) -> Any:
        """Return the body."""
        return self.body

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Be done with it, or give it back after an error."""
        if not self._settled:
            if kind is None:
                self.ack()
            else:
                self.nack()

    def __repr__(self) -> str:
        return f"<message {self.id.hex()[:8]} of {self._queue.name}, handed out {self.deliveries} times>"


class Queue:
    """A queue of the site, made when it is first used. Threads may share it; each taking is one consumer's."""

    def __init__(
        self,
        name: str,
        *,
        form: Form = "pickle",
        visible: float = 30.0,
        deliveries: int | None = None,
        size: int | None = None,
        make: bool = True,
        home: Home | None = None,
    ) -> None:
        if not name:
            raise BadRequest("a queue has a name", hint='use("Queue", name="frames")')
        if form not in FORMS:
            raise BadRequest(f"there is no form {form!r} of messages", hint=f"there are: {', '.join(FORMS)}")
        if not 0.1 <= visible <= 86_400:
            raise BadRequest("a message is held for 0.1 to 86400 seconds", hint="say visible=30")
        if (deliveries is not None and not 1 <= deliveries <= 1000) or (size is not None and not 1 <= size <= 2**34):
            raise BadRequest("deliveries are 1 to 1000, and the size is 1 byte to 16 GiB", hint="leave them out")
        self.name = name
        self.form = form
        self.visible_s = visible
        self._home = home
        self._consumer = f"c-{os.urandom(8).hex()}"
        self._request = 0
        self._taking = threading.Lock()
        self._opening = threading.Lock()
        self._idle: list[Asking] = []  # conversations that no thread uses now
        self._busy: set[Asking] = set()
        self._process = os.getpid()  # whose they are
        self._closings = 0
        self._make(deliveries, size, make=make)

    # -- putting -------------------------------------------------------------------------------------------------------------

    def put(self, obj: Any, *, id: bytes | str | None = None, timeout: float = 0.0) -> bytes:  # noqa: A002 - what it is
        """Append a message; it is durable when this returns. Return its id.

        What was put under the same ``id`` in the last ten minutes is not put again. ``timeout``: how long to wait while the
        queue is full; then ``OverQuota``.
        """
        kept = Kept(_id_of(id), self.dumped(obj))
        self._put((kept,), timeout)
        return kept.id

    def put_many(self, objs: Iterable[Any], *, timeout: float = 0.0) -> int:
        """Append messages, many to a write; return how many. After an error some of them may be there."""
        batch: list[Kept] = []
        size = count = 0
        for obj in objs:
            kept = Kept(_id_of(None), self.dumped(obj))
            if batch and (size + len(kept.body) > BATCH_BYTES or len(batch) == MESSAGES_MAX):
                self._put(tuple(batch), timeout)
                batch, size = [], 0
            batch.append(kept)
            size += len(kept.body) + ID_BYTES
            count += 1
        if batch:
            self._put(tuple(batch), timeout)
        return count

    def _put(self, messages: tuple[Kept, ...], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._said(Put(queue=self.name, messages=messages))
            except Refused as refused:
                self.view()  # it may have been dropped
                if time.monotonic() >= deadline:
                    raise OverQuota(str(refused), hint=refused.hint) from None
                time.sleep(AGAIN_S)
            else:
                return

    # -- taking --------------------------------------------------------------------------------------------------------------

    def get(self, timeout: float | None = None) -> Message:
        """Take the oldest message, waiting for one; ``Empty`` (a ``queue.Empty``) if none came in so many seconds."""
        found = self.get_many(1, timeout=timeout)
        if not found:
            raise Empty
        return found[0]

    def get_many(self, count: int, *, timeout: float | None = None, done: Iterable[Message] = ()) -> list[Message]:
        """Take up to so many messages, waiting for the first; none if nothing came in so many seconds.

        ``done``: be done with these at the same time, which costs nothing more; to know whether others had one, say ``ack``.
        """
        if not 1 <= count <= MESSAGES_MAX:
            raise BadRequest(f"1 to {MESSAGES_MAX} messages are taken at once")
        deadline = None if timeout is None else time.monotonic() + timeout
        settled = list(done)
        if settled:
            found = self._take(count, 0, settled)
            if found:
                return found
        while True:
            left_ms = WAIT_MS_MAX if deadline is None else max(0, int((deadline - time.monotonic()) * MS))
            found = self._take(count, min(left_ms, WAIT_MS_MAX))
            if found or (deadline is not None and time.monotonic() >= deadline):
                return found

    def __iter__(self) -> Iterator[Message]:
        """Take one message after the other, for ever; each is acknowledged when the next is asked for, unless it was settled."""
        return self._each(None, 1)

    def drain(self, *, ahead: int = 1) -> Iterator[Message]:
        """Take what is there, and end when nothing is; so many are taken ``ahead``."""
        return self._each(0.0, ahead)

    def _each(self, timeout: float | None, ahead: int) -> Iterator[Message]:
        found: list[Message] = []
        while found := self.get_many(ahead, timeout=timeout, done=[each for each in found if not each.settled]):
            for at, message in enumerate(found):
                try:
                    yield message
                except GeneratorExit:
                    self.nack(*(each for each in found[at:] if not each.settled))
                    raise

    def _take(self, count: int, wait_ms: int, done: Sequence[Message] = ()) -> list[Message]:
        for at in range(MESSAGES_MAX, len(done), MESSAGES_MAX):
            self.ack(*done[at : at + MESSAGES_MAX])
        for message in done:
            message._settled = True
        ids = tuple(message.id for message in done[:MESSAGES_MAX])
        first = (Ack(queue=self.name, consumer=self._consumer, ids=ids),) if ids else ()
        with self._taking:  # a consumer's takings are numbered upwards
            self._request += 1
            said = Take(
                queue=self.name,
                consumer=self._consumer,
                request=self._request,
                count=count,
                visible_ms=int(self.visible_s * MS),
            )
            answer = self._said(*first, said, wait_ms=wait_ms)
        return [Message(self, kept, deliveries) for kept, deliveries in answer.messages]

    # -- settling ------------------------------------------------------------------------------------------------------------

    def ack(self, *messages: Message) -> tuple[bytes, ...]:
        """Be done with messages; return the ids of those that others hold by now."""
        for message in messages:
            message._settled = True
        return self._settle(Ack, messages)

    def nack(self, *messages: Message) -> tuple[bytes, ...]:
        """Give messages back: others get them at once."""
        for message in messages:
            message._settled = True
        return self._settle(Nack, messages)

    def extend(self, seconds: float, *messages: Message) -> tuple[bytes, ...]:
        """Hold messages for so long from now; return the ids of those that others hold by now."""
        if not messages:
            return ()
        ids = tuple(message.id for message in messages)
        said = Extend(queue=self.name, consumer=self._consumer, ids=ids, visible_ms=int(seconds * MS))
        return self._said(said).missed

    def _settle(self, kind: type[Ack | Nack], messages: tuple[Message, ...]) -> tuple[bytes, ...]:
        missed: tuple[bytes, ...] = ()
        for at in range(0, len(messages), MESSAGES_MAX):
            ids = tuple(message.id for message in messages[at : at + MESSAGES_MAX])
            missed += self._said(kind(queue=self.name, consumer=self._consumer, ids=ids)).missed
        return missed

    # -- looking -------------------------------------------------------------------------------------------------------------

    def view(self) -> QueueView:
        """Return how the queue stands."""
        seen = read_queue(self._ask("work_look", {"what": f"queue {self.name}"}))
        if seen is None:
            raise NotThere(f"there is no queue {self.name}", hint="it was dropped: open it again")
        return seen

    def qsize(self) -> int:
        """Return how many messages wait; what consumers hold is not counted."""
        return self.view().waiting

    @property
    def dead(self) -> Queue:
        """The queue of those that were handed out too often."""
        return Queue(self.view().dead, form=self.form, visible=self.visible_s)

    # -- bodies --------------------------------------------------------------------------------------------------------------

    def dumped(self, obj: Any) -> bytes:
        """Return an object as the body of a message."""
        if isinstance(obj, bytes | bytearray | memoryview):
            data = BYTES + bytes(obj)
        elif self.form == "bytes":
            raise BadRequest("this queue is used for bytes alone", hint='put bytes, or use it with form="json"')
        elif isinstance(obj, str):
            data = TEXT + obj.encode()
        elif self.form == "json":
            data = JSON + _json(obj)
        else:
            data = PICKLE + cloudpickle.dumps(obj)
        if len(data) > MESSAGE_BYTES_MAX:
            hint = "put it into the realm's files (wos put) and its name into the queue"
            raise BadRequest(f"a message of {len(data)} bytes, at most {MESSAGE_BYTES_MAX} are allowed", hint=hint)
        return data

    def loaded(self, body: bytes) -> Any:
        """Return what a body holds."""
        letter, data = body[:1], body[1:]
        if letter == BYTES:
            return data
        if letter == TEXT:
            return data.decode("utf-8", "replace")
        if letter == JSON:
            return json.loads(data)
        if letter == PICKLE and self.form == "pickle":
            return pickle.loads(data)  # noqa: S301 - only devices of this account can put here
        raise BadRequest("this message is none that this queue is used for", hint="take message.raw, or another form=")

    # -- life ----------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Hang up. What this consumer holds comes back to the queue when its time is over."""
        with self._opening:
            ended = [*self._idle, *self._busy]
            self._idle, self._busy = [], set()
            self._closings += 1
        for each in ended:
            each.close()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hang up."""
        self.close()

    def __repr__(self) -> str:
        return f"<queue {self.name}>"

    def _make(self, deliveries: int | None, size: int | None, *, make: bool) -> None:
        """Make the queue, unless it is there and nobody wants it otherwise."""
        seen = read_queue(self._ask("work_look", {"what": f"queue {self.name}"}))
        if seen is None and not make:
            raise NotThere(f"there is no queue {self.name}", hint="see which there are: wos queue list")
        if seen is not None and deliveries is None and size is None:
            return
        made: dict[str, Any] = {"deliveries_max": deliveries, "bytes_max": size}
        if seen is not None:
            made = {"dead": seen.dead, **{key: value or getattr(seen, key) for key, value in made.items()}}
        self._said(QueueMade(queue=self.name, **{key: value for key, value in made.items() if value is not None}))

    def _said(self, *commands: QueueCommand, wait_ms: int = 0) -> Applied:
        """Have commands carried out; return what the last came to."""
        body = encode_command(WorkCommand(said=commands))
        *_, answer = decode_answers(self._ask("work", {"command": body, "wait_ms": wait_ms}, wait_ms / MS))
        if isinstance(answer, Applied):
            return answer
        raise Refused(answer.why, hint=answer.hint)

    def _ask(self, name: str, arguments: dict[str, Any], wait_s: float = 0.0) -> bytes:
        """Ask the agent; one that ended may be back in a moment, and all that is asked here can be asked twice."""
        deadline = time.monotonic() + AGENT_BACK_S
        closings = self._closings
        while True:
            try:
                return self._asked(name, arguments, ANSWER_S + wait_s)
            except NoAgent as gone:
                if time.monotonic() >= deadline or self._closings != closings:
                    raise NoAgent(str(gone), hint="start it: wos up") from gone
                time.sleep(AGAIN_S)

    def _asked(self, name: str, arguments: dict[str, Any], timeout_s: float) -> bytes:
        """Ask in a conversation that no other thread uses: who asks reads the answer itself, without the trip to a listener."""
        asking = self._taken()
        try:
            answer: bytes = asking.ask(name, timeout_s=timeout_s, **arguments)
        except BaseException:
            asking.close()
            raise
        else:
            with self._opening:
                if asking in self._busy:  # else it was hung up meanwhile
                    self._idle.append(asking)
            return answer
        finally:
            with self._opening:
                self._busy.discard(asking)

    def _taken(self) -> Asking:
        with self._opening:
            if self._process != os.getpid():  # a fork: what was inherited is the parent's
                for each in (*self._idle, *self._busy):
                    each.forget()
                self._idle, self._busy, self._process = [], set(), os.getpid()
            asking = self._idle.pop() if self._idle else Asking(self._home or default_home(), program_name())
            self._busy.add(asking)
            return asking


def opened(words: dict[str, Any]) -> Queue:
    """Open a queue from the words of ``use``."""
    known = {"name", "form", "visible", "deliveries", "size"}
    if unknown := sorted(words.keys() - known):
        raise TypeError(f"no such word: {unknown[0]}=; for a queue there are {', '.join(sorted(known))}")
    if "name" not in words:
        raise BadRequest("a queue has a name", hint='use("Queue", name="frames")')
    return Queue(words.pop("name"), **words)


def _id_of(id: bytes | str | None) -> bytes:  # noqa: A002 - what it is
    if id is None:
        return os.urandom(ID_BYTES)
    return blake2b(id.encode() if isinstance(id, str) else id, digest_size=ID_BYTES).digest()


def _json(obj: Any) -> bytes:
    try:
        return json.dumps(obj, separators=(",", ":")).encode()
    except (TypeError, ValueError) as cause:
        raise BadRequest(f"that is not JSON: {cause}", hint='put it without form="json"') from cause


__all__ = ["Empty", "Message", "Queue", "opened"]
