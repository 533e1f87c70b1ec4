import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.people import ACCOUNT, LAPTOP

from worldos.errors import BadRequest
from worldos.trust.ticket import Guest, Ticket, _checksum, new_ticket

ADDRESSES = ("192.168.1.7:7447", "[2001:db8::1]:7447", "desk.example.org:80")


def ticket(addresses: tuple[str, ...] = ADDRESSES, secret: bytes = b"s" * 16) -> Ticket:
    return new_ticket(
        addresses=addresses, secret=secret, inviter=LAPTOP.node_id, account=ACCOUNT, expires_s=1_800_000_000
    )


TEXT = ticket().encode()
hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map("[{}]".format),
    st.from_regex(r"\A[a-z][a-z0-9.-]{0,60}\Z"),
    st.just("[fe80::1%eth0]"),
)
addresses = st.tuples(hosts, st.integers(1, 65535)).map(lambda pair: f"{pair[0]}:{pair[1]}")


@given(st.lists(addresses, min_size=1, max_size=8).map(tuple), st.binary(min_size=16, max_size=16))
def test_a_ticket_reads_back(where: tuple[str, ...], secret: bytes) -> None:
    made = ticket(where, secret)
    assert Ticket.parse(made.encode()) == made


def test_a_ticket_names_the_beginnings_of_its_ids() -> None:
    read = Ticket.parse(TEXT)
    assert LAPTOP.node_id.startswith(read.inviter_prefix)
    assert ACCOUNT.startswith(read.account_prefix)
    assert len(read.inviter_prefix) == len(read.account_prefix) == 16


def test_a_ticket_with_two_addresses_is_short() -> None:
    made = ticket(("192.168.1.7:7447", "10.0.0.3:7447")).encode()
    assert len(made) <= 100
    assert made.startswith("wos-")
    assert set(made.upper()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"), "what the small kind of QR code can hold"


def test_case_and_line_breaks_do_not_matter() -> None:
    assert Ticket.parse(f"  {TEXT.upper()[:40]}\n   {TEXT.upper()[40:]} \n") == ticket()


def test_the_text_of_a_ticket_never_changes() -> None:
    """A ticket made by one version is read by the next."""
    assert ticket().encode() == GOLDEN


GOLDEN = (
    "wos-afzxg43tonzxg43tonzxg43tonzr2qnzhiqs6jpmkoyw2rhzhh4ctvbvtc6aa22j2iaajqfiaedr2fygeaaq3o"
    "aaaaaaaaaaaaaaaaaaaeoroaaqmrsxg2zomv4gc3lqnrss433sm4afbry66yhq"
)


@given(st.text(max_size=200))
def test_any_text_is_refused_as_not_a_ticket(text: str) -> None:
    with pytest.raises(BadRequest, match=r"not a ticket|damaged"):
        Ticket.parse(text)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", max_size=300))
def test_what_only_begins_like_a_ticket_is_damaged(text: str) -> None:
    with pytest.raises(BadRequest, match="damaged"):
        Ticket.parse("wos-" + text)


@given(st.integers(4, len(TEXT) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567019!-é"))
def test_a_flipped_character_is_found(place: int, character: str) -> None:
    spoilt = TEXT[:place] + character + TEXT[place + 1 :]
    if spoilt == TEXT:
        return
    with pytest.raises(BadRequest, match="damaged: a character is wrong or missing"):
        Ticket.parse(spoilt)


@given(st.integers(0, len(TEXT) - 1), st.integers(0, len(TEXT)))
def test_a_missing_or_swapped_piece_is_found(one: int, two: int) -> None:
    for spoilt in (TEXT[:one], TEXT[:one] + TEXT[one + 1 :], TEXT + TEXT[one:]):
        with pytest.raises(BadRequest):
            Ticket.parse(spoilt)


def test_a_ticket_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(BadRequest, match="not a ticket"):
        Ticket.parse("wos-" + "a" * 10_000_000)


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", "host:0", "host:65536", "host:x", "host:080", "host:²", ":80", "::1:80", "a b:80", "a\x1b[1m:80",
     "x" * 254 + ":80", "host:" + "9" * 5000],
)  # fmt: skip
def test_what_is_not_an_address_is_refused(address: str) -> None:
    with pytest.raises(BadRequest, match="not an address"):
        ticket((address,))


def test_the_number_of_addresses_is_bounded() -> None:
    for where in ((), ("host:80",) * 9):
        with pytest.raises(BadRequest, match="1 to 8 addresses"):
            ticket(where)


def rewritten(change) -> str:
    """Make a ticket whose checksum is right and whose content is not."""
    raw = base64.b32decode(TEXT[4:].upper() + "=" * (-len(TEXT[4:]) % 8))
    body = change(raw[:-4])
    return "wos-" + base64.b32encode(body + _checksum(body)).decode().rstrip("=").lower()


def test_another_version_is_named() -> None:
    with pytest.raises(BadRequest, match="another version"):
        Ticket.parse(rewritten(lambda body: b"\x02" + body[1:]))


@given(st.binary(max_size=80))
def test_a_strange_tail_is_refused(tail: bytes) -> None:
    with pytest.raises(BadRequest):
        Ticket.parse(rewritten(lambda body: body[:42] + b"\x09" + tail))
    with pytest.raises(BadRequest):
        Ticket.parse(rewritten(lambda body: body[:20]))
    with pytest.raises(BadRequest):
        Ticket.parse(rewritten(lambda body: body[:42] + b"\x00\x05a\x1b[2J\x00\x50"))


def realm_ticket() -> Ticket:
    return new_ticket(
        addresses=ADDRESSES,
        secret=b"r" * 16,
        inviter=LAPTOP.node_id,
        account=ACCOUNT,
        expires_s=1_800_000_000,
        guest=Guest.REALM,
    )


def test_a_ticket_for_a_realm_reads_back() -> None:
    text = realm_ticket().encode()
    assert text.startswith("wosr-")
    assert Ticket.parse(text.upper(), Guest.REALM) == realm_ticket()


def test_a_ticket_given_to_the_other_command_says_which_one_to_use() -> None:
    with pytest.raises(BadRequest, match="for a realm") as caught:
        Ticket.parse(realm_ticket().encode())
    assert "wos realm join" in caught.value.hint
    with pytest.raises(BadRequest, match="for a machine") as caught:
        Ticket.parse(TEXT, Guest.REALM)
    assert "wos join" in caught.value.hint


def test_a_ticket_whose_beginning_was_changed_is_none_of_the_other_kind() -> None:
    with pytest.raises(BadRequest):
        Ticket.parse(TEXT.replace("wos-", "wosr-"), Guest.REALM)
    with pytest.raises(BadRequest):
        Ticket.parse(realm_ticket().encode().replace("wosr-", "wos-"))
