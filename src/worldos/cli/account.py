"""``wos account``: who can act for this account, and how it comes back when every device is lost.

Words are never arguments: they would stay in the shell's history and in the list of processes. They are asked for, or read from
standard input where nobody is at a terminal.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from worldos.agent import home as homes
from worldos.cli import output, passkeys, post
from worldos.cli.lifecycle import JSON, chosen_settings
from worldos.cli.names import when
from worldos.cli.person import confirmed, sure
from worldos.config import Home, default_home, read_settings
from worldos.errors import BadRequest, NotAllowed
from worldos.model.ids import AccountId
from worldos.sdk.asking import Asking

if TYPE_CHECKING:
    from worldos.trust.entries import SignedEntry
    from worldos.trust.keylog import KeyLog
    from worldos.trust.keys import DeviceKey

SECOND_NS = 1_000_000_000
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")
WORDS = typer.Option(False, "--words", help="By the 24 recovery words, which are asked for.")
TOGETHER = typer.Option(False, "--together", help="By guardians or holders: print a text for them to agree to.")

account = typer.Typer(
    help="Who can act as you, and how your account comes back.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
guardian = typer.Typer(
    help="People who together bring your account back: some of them are enough, one alone can do nothing.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (
        ("show", show),
        ("recover", recover),
        ("approve", approve),
        ("remove", remove),
        ("rekey", rekey),
        ("save", save),
        ("create", create),
        ("answers", answers),
        ("compact", compact),
    ):
        account.command(name)(command)
    for name, of_guardians in (("offer", offer), ("add", add), ("list", list_), ("remove", drop), ("approve", agree)):
        guardian.command(name)(of_guardians)
    account.add_typer(guardian, name="guardian")
    passkeys.add_to(account)
    post.add_to(account)
    app.add_typer(account, name="account", rich_help_panel=output.YOUR_MACHINES)


def show(as_json: bool = JSON) -> None:
    """List everybody who can act as you, the strongest first, and the one way back when every device is lost."""
    shown = _shown(default_home())
    if as_json:
        output.say_json(shown)
        return
    output.table(
        ("WHO", "KIND", "WEIGHT", "LET IN BY", "SEEN SINCE", "LIMITS"),
        [
            (
                f"{row['name']} (here)" if row["here"] else output.text(row["name"]),
                row["kind"],
                f"{row['weight']} (young)" if row["young"] else row["weight"],
                output.text(row["by_name"]) or "-",
                when(row["since_s"] * SECOND_NS) if row["since_s"] else "-",
                row["limits"],
            )
            for row in shown["actors"]
        ],
    )
    print(f"\naccount {shown['account']}")
    print(f"when every device is lost, it comes back {shown['recovery']}")
    young = [row["name"] for row in shown["actors"] if row["young"]]
    if young:
        print(f"young: {', '.join(young)}. Make one grown at once: wos account approve NAME (with your words)")


def recover(
    name: str = typer.Option("", help="What to call this machine (default: its host name)."),
    revoke_others: bool = typer.Option(False, "--revoke-others", help="Put all other known devices out (stolen)."),
    log: Path = typer.Option(
        None, "--log", metavar="FILE", help="What wos account save wrote, if the words were replaced."
    ),
    guardians: Path = typer.Option(
        None, "--guardians", metavar="FILE", help="By guardians, without the words: print a text for them to agree to."
    ),
    as_json: bool = JSON,
) -> None:
    """Make this machine one of your account by the 24 recovery words (asked for, or read from standard input)."""
    from worldos.agent.start import device_name, read_log, recover_account, request_of  # noqa: PLC0415 - as in approve
    from worldos.trust.keylog import device_entry  # noqa: PLC0415

    home = default_home()
    homes.make_folder(home.path)
    if homes.running_pid(home) is not None:
        raise BadRequest("an agent runs here", hint="stop it first: wos down")
    settings = chosen_settings(home, name=name, place="", listen="", reachable=False)
    if guardians is not None:
        known = read_log(guardians)
        request = request_of(home, known.account, device_name(settings))
        _ask_others(home, known, [device_entry(known, _quorum_key(known), request)], as_json=as_json)
        return
    saved = read_log(log) if log is not None else None
    words = asked_words()
    recovered = recover_account(home, device_name(settings), words, revoke_others=revoke_others, saved=saved)
    if as_json:
        output.say_json({"account": recovered})
    else:
        output.out.print(f"account {recovered[:12]}... is yours again on this machine. Start it: [bold]wos up[/]")
        output.out.print(
            "your files come as soon as one of your devices is met; if none is left: [bold]wos storage unlock --words[/]"
        )


def approve(
    name: str = typer.Argument(metavar="NAME", help="As wos account show calls it."), as_json: bool = JSON
) -> None:
    """Say by the 24 words that a device or a passkey was rightly let in: it is grown then, and weighs in full."""
    from worldos.agent.orders.account import actor_called  # noqa: PLC0415 - cryptography, only where it is needed
    from worldos.trust.sayings import approve as approved  # noqa: PLC0415

    home = default_home()
    log = _log(home)
    actor = actor_called(log, name)
    if not actor.young:
        raise BadRequest(f"{name} is grown already", hint="wos account show")
    _say(home, log, approved(log, _key_of_words(), actor.key))
    _done(f"{actor.name} is grown: it weighs what its kind weighs", {"approved": actor.key}, as_json=as_json)


def remove(
    name: str = typer.Argument(
        metavar="KEY", help="A device, a passkey, guardians, older words: as wos account show calls it."
    ),
    keep: list[str] = typer.Option(
        [], "--keep", metavar="NAME", help="Let this one stay, though it was let in by KEY lately."
    ),
    words: bool = WORDS,
    together: bool = TOGETHER,
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Put a key out: gone at once wherever your machines hear of it. What it let in lately goes with it."""
    from worldos.agent.orders.account import actor_called  # noqa: PLC0415 - as in approve
    from worldos.trust.actors import who_can_act  # noqa: PLC0415
    from worldos.trust.sayings import removal_entry, remove_key  # noqa: PLC0415

    home = default_home()
    if not yes:
        sure(f"Put {name} out of your account?")
    if not words and not together:
        with Asking(home) as agent:
            done = agent.ask("account_remove", key=name, keep=list(keep))
        _done(f"put out: {', '.join(done['gone'])}", done, as_json=as_json)
        return
    log = _log(home)
    actor, kept = actor_called(log, name), tuple(actor_called(log, other).entry for other in keep)
    if together:
        _ask_others(home, log, [removal_entry(log, _quorum_key(log), actor.key, kept)], as_json=as_json)
        return
    before = {other.key: other.name for other in who_can_act(log)}
    _say(home, log, remove_key(log, _key_of_words(), actor.key, kept))
    gone = [before[key] for key in sorted(before.keys() - {other.key for other in who_can_act(log)})]
    _done(f"put out: {', '.join(gone)}", {"removed": actor.key, "gone": gone}, as_json=as_json)


def rekey(together: bool = TOGETHER, as_json: bool = JSON) -> None:
    """Put new recovery words in the place of the old: those are worth nothing any more (guardians only add new ones)."""
    from worldos.trust.keys import DeviceKey  # noqa: PLC0415 - as in approve
    from worldos.trust.sayings import rekey as rekeyed  # noqa: PLC0415
    from worldos.trust.sayings import rekey_entry  # noqa: PLC0415
    from worldos.trust.words import seed_from_words, words_from_entropy  # noqa: PLC0415

    home = default_home()
    log = _log(home)
    old = None if together else _key_of_words()
    words = words_from_entropy(secrets.token_bytes(32))
    new = DeviceKey.from_seed(seed_from_words(words))
    if old is not None:
        _say(home, log, rekeyed(log, old, new))
    if as_json and not together:
        output.say_json({"account": log.account, "words": words})
        return
    shown = output.err if together else output.out
    shown.print("Your new 24 recovery words; write them down, they are kept nowhere:\n")
    shown.print(f"   {words}\n")
    shown.print(
        "These words do not name the account by themselves. Keep a copy of its key log with them, it is no secret:"
    )
    shown.print("   wos account save FILE\n")
    if together:
        _ask_others(home, log, [rekey_entry(log, _quorum_key(log), new)], as_json=as_json)


def save(file: Path = typer.Argument(metavar="FILE", help="Where to write it."), as_json: bool = JSON) -> None:
    """Write a copy of the account's key log: for your guardians, and for words that took the place of others."""
    home = default_home()
    log = _log(home)
    homes.write_keylog_to(file, _pairs(log))
    _done(f"{file} has the key log of this account; it is no secret", {"file": str(file)}, as_json=as_json)


def create(
    name: str = typer.Argument(metavar="NAME", help="What the home, the firm or the group is called."),
    holders: list[str] = typer.Option(
        ..., "--holder", metavar="OFFER", help="What wos account guardian offer printed for each."
    ),
    threshold: int = typer.Option(2, min=1, max=16, help="How many of them together move the account."),
    as_json: bool = JSON,
) -> None:
    """Begin an account of several holders on this machine, which has none: print a text for them to agree to."""
    from worldos.agent import together as asking  # noqa: PLC0415 - as in approve
    from worldos.agent.start import device_name, first_device, stored_log  # noqa: PLC0415
    from worldos.trust.entries import body_of  # noqa: PLC0415
    from worldos.trust.sayings import shared_genesis  # noqa: PLC0415

    home = default_home()
    homes.make_folder(home.path)
    if stored_log(home) is not None:
        raise NotAllowed(
            "this machine belongs to an account", hint="take a fresh home: WORLDOS_HOME=FOLDER wos account create"
        )
    quorum = _quorum(holders, threshold)
    begun = shared_genesis(quorum, name, secrets.token_bytes(16))
    key = homes.open_key(home)
    admitted = first_device(begun, key, device_name(read_settings(home)))
    asked = asking.Asked(
        account=AccountId(admitted.warrant), device=key.node_id, bodies=(body_of(begun), body_of(admitted))
    )
    asking.save(home, asking.Pending(asked=asked, quorum=quorum))
    _print_asked(asked, as_json=as_json)


def answers(as_json: bool = JSON) -> None:
    """Finish what was asked of guardians or holders, with what they answered (one a line, from standard input)."""
    from worldos.agent import together as asking  # noqa: PLC0415 - as in approve
    from worldos.agent.start import stored_log  # noqa: PLC0415

    home = default_home()
    pending = asking.saved(home)
    if sys.stdin.isatty():
        sys.stderr.write("What they answered, one a line; an empty line ends it:\n")
    texts = []
    for line in sys.stdin:
        if not line.strip():
            break
        if line.strip().startswith(asking.VOTE):
            texts.append(line.strip())
    whole = asking.whole(pending, texts)
    log = stored_log(home)
    if log is None or log.account != pending.asked.account:
        log = asking.log_of(pending)
    log.merge(whole)
    _tell(home, log, whole)
    asking.forget(home)
    _done("done; see: wos account show", {"account": log.account}, as_json=as_json)


def compact(as_json: bool = JSON) -> None:
    """Make the key log short: the words sign what it comes to, and what led there is forgotten."""
    from worldos.trust.sayings import snapshot  # noqa: PLC0415 - as in approve

    home = default_home()
    log = _log(home)
    before = len(log.entries)
    _say(home, log, snapshot(log, _key_of_words()))
    said = f"the key log had {before} entries; each device forgets what lies before when all have seen it"
    _done(said, {"entries": before}, as_json=as_json)


# -- guardians -----------------------------------------------------------------------------------------------------------


def offer(as_json: bool = JSON) -> None:
    """Print a text by which this device can be chosen as a guardian, or as a holder of an account."""
    from worldos.agent.together import offer_text  # noqa: PLC0415 - as in approve

    home = default_home()
    log, key = _log(home), homes.open_key(home)
    known = log.members().get(key.node_id)
    text = offer_text(log.account, key.node_id, known.name if known is not None else "a device")
    if as_json:
        output.say_json({"offer": text})
    else:
        print(text)


def add(
    offers: list[str] = typer.Argument(
        metavar="OFFER...", help="What wos account guardian offer printed on their devices."
    ),
    need: int = typer.Option(2, min=1, max=16, help="How many of them together bring the account back."),
    together: bool = TOGETHER,
    as_json: bool = JSON,
) -> None:
    """Choose guardians, in the place of those before, by the 24 words; each also keeps a part of your files' key."""
    from worldos.trust.sayings import guardians_entry, set_guardians  # noqa: PLC0415 - as in approve

    home = default_home()
    log = _log(home)
    quorum = _quorum(offers, need)
    if any(seat.account == log.account for seat in quorum.seats):
        raise BadRequest("a guardian is somebody else: this offer is of a device of yours")
    if together:
        _ask_others(home, log, [guardians_entry(log, _quorum_key(log), quorum)], as_json=as_json)
        return
    _say(home, log, set_guardians(log, _key_of_words(), quorum))
    files = _share_files_key(home, offers, need)
    if as_json:
        output.say_json({"guardians": [seat.key for seat in quorum.seats], "need": need, "files": files})
        return
    print(f"any {need} of {len(quorum.seats)} guardians bring your account back")
    print("give each of them a copy of the key log, it is no secret: wos account save FILE")
    if not files:
        print("the key of your files was not shared: start the agent and put a file, then add them again")


def list_(as_json: bool = JSON) -> None:
    """Show who together can bring the account back."""
    rows = [row for row in _shown(default_home())["actors"] if row["seats"]]
    if as_json:
        output.say_json(rows)
        return
    if not rows:
        print("nobody: wos account guardian add OFFER...")
    for row in rows:
        print(f"{row['kind']} {output.text(row['name'])}: {row['threshold']} of")
        output.table(
            ("DEVICE", "OF ACCOUNT", "WEIGHT"), [(s["key"][:8], s["account"][:12], s["weight"]) for s in row["seats"]]
        )


def drop(yes: bool = YES, as_json: bool = JSON) -> None:
    """Have no guardians any more."""
    from worldos.trust.sayings import set_guardians  # noqa: PLC0415 - as in approve

    home = default_home()
    log = _log(home)
    if not yes:
        sure("Have no guardians any more?")
    _say(home, log, set_guardians(log, _key_of_words(), None))
    _share_files_key(home, [], 0)
    _done("nobody can bring the account back but your words", {"guardians": []}, as_json=as_json)


def agree(
    text: str = typer.Argument("-", metavar="[TEXT]", help="What you were sent (default: from standard input)."),
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Agree, as a guardian or a holder, to what somebody asks: print a text to send back."""
    from worldos.agent.together import described, digits_of, read_asked, vote_text  # noqa: PLC0415 - as in approve

    asked = read_asked(sys.stdin.readline() if text == "-" else text)
    said, who = described(asked), digits_of(asked.device)
    if not yes:
        for line in said:
            output.err.print(f"  {output.text(line)}")
        if not sys.stdin.isatty():
            raise BadRequest(
                "nobody is here to compare who asks", hint=f"its digits are {who}; add --yes if you are sure"
            )
        if not confirmed(f"Is it right, and did you hear {who} from them by voice?"):
            raise NotAllowed("nothing was signed")
    vote = vote_text(homes.open_key(default_home()), asked)
    if as_json:
        output.say_json({"agreed": said, "answer": vote})
    else:
        print(vote)


# -- common to these ------------------------------------------------------------------------------------------------------


def _shown(home: Home) -> dict[str, Any]:
    """Ask the agent, or read the key log where none runs."""
    if homes.running_pid(home) is not None:
        with Asking(home) as agent:
            found: dict[str, Any] = agent.ask("account_show")
            return found
    from worldos.agent.orders.account import account_rows  # noqa: PLC0415 - as in approve

    return account_rows(_log(home), homes.open_key(home).node_id)


def _log(home: Home) -> KeyLog:
    from worldos.agent.start import stored_log  # noqa: PLC0415 - as in approve

    log = stored_log(home)
    if log is None:
        raise NotAllowed("this machine belongs to no account", hint="wos up makes one, wos join TICKET joins one")
    return log


def asked_words(question: str = "The 24 words") -> str:
    """Ask for the words without showing them, or read them from standard input where nobody is at a terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.read()
    try:
        return str(typer.prompt(question, hide_input=True, err=True))
    except typer.Abort:
        raise KeyboardInterrupt from None


def _key_of_words() -> DeviceKey:
    from worldos.trust.keys import DeviceKey  # noqa: PLC0415 - as in approve
    from worldos.trust.words import seed_from_words  # noqa: PLC0415

    return DeviceKey.from_seed(seed_from_words(asked_words()))


def _pairs(log: KeyLog) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((signed.body, signed.signature) for signed in log.entries.values())


def _say(home: Home, log: KeyLog, entry: SignedEntry) -> None:
    log.merge([entry])
    _tell(home, log, [entry])


def _tell(home: Home, log: KeyLog, entries: list[SignedEntry]) -> None:
    """Give entries to the agent, or into the home where none runs."""
    if homes.running_pid(home) is None:
        homes.write_keylog(home, _pairs(log))
        return
    with Asking(home) as agent:
        agent.ask("learn", entries=tuple((entry.body, entry.signature) for entry in entries))


def _quorum(offers: list[str], threshold: int) -> Any:
    from worldos.agent.together import read_offer  # noqa: PLC0415 - as in approve
    from worldos.errors import PeerBroke  # noqa: PLC0415
    from worldos.trust.approvals import Quorum, Seat, check_quorum  # noqa: PLC0415

    seats = {offer.key: Seat(account=offer.account, key=offer.key) for offer in map(read_offer, offers)}
    quorum = Quorum(threshold=threshold, seats=tuple(seats[key] for key in sorted(seats)))
    try:
        check_quorum(quorum)
    except PeerBroke as cause:
        raise BadRequest(
            f"{threshold} cannot be reached by these", hint="two devices of one owner are one vote"
        ) from cause
    return quorum


def _quorum_key(log: KeyLog) -> str:
    from worldos.trust.actors import who_can_act  # noqa: PLC0415 - as in approve

    key = next((actor.key for actor in who_can_act(log) if actor.seats), None)
    if key is None:
        raise BadRequest("this account has no guardians and no holders", hint="wos account guardian add")
    return key


def _ask_others(home: Home, log: KeyLog, entries: list[Any], *, as_json: bool) -> None:
    from worldos.agent import together as asking  # noqa: PLC0415 - as in approve
    from worldos.trust.actors import who_can_act  # noqa: PLC0415
    from worldos.trust.approvals import Quorum  # noqa: PLC0415
    from worldos.trust.entries import body_of  # noqa: PLC0415

    actor = next(actor for actor in who_can_act(log) if actor.seats)
    bodies = tuple(body_of(entry) for entry in entries)
    asked = asking.Asked(account=log.account, device=homes.open_key(home).node_id, bodies=bodies)
    quorum = Quorum(threshold=actor.threshold, seats=actor.seats)
    asking.save(home, asking.Pending(asked=asked, quorum=quorum, log=_pairs(log)))
    _print_asked(asked, as_json=as_json)


def _print_asked(asked: Any, *, as_json: bool) -> None:
    from worldos.agent.together import ask_text, described, digits_of  # noqa: PLC0415 - as in approve

    text, who = ask_text(asked), digits_of(asked.device)
    if as_json:
        output.say_json({"text": text, "digits": who, "asks": described(asked)})
        return
    output.err.print("Send this to all of them; each who agrees runs: wos account guardian approve TEXT\n")
    print(text)
    output.err.print(f"\nTell them these digits by voice, so that they know it is you: [bold]{who}[/]")
    output.err.print("With what enough of them answered: wos account answers")


def _share_files_key(home: Home, offers: list[str], need: int) -> bool:
    """Give the guardians their parts of the files' key too; False where this machine has none, or no agent runs."""
    from worldos.agent.together import read_offer  # noqa: PLC0415 - as in approve
    from worldos.errors import WorldError  # noqa: PLC0415
    from worldos.files.recovering import set_guardian_keys  # noqa: PLC0415
    from worldos.trust.keys import public_of  # noqa: PLC0415

    try:
        set_guardian_keys(home, {public_of(offer.key): offer.name for offer in map(read_offer, offers)}, need)
    except WorldError:
        return False
    return True


def _done(said: str, value: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.say_json(value)
    else:
        print(said)
