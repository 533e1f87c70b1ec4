"""Names of rights: how people say who is meant and what, and how both are shown to them."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from worldos.agent.agent import Agent
from worldos.agent.orders.realm import realm_called
from worldos.errors import BadRequest, PeerBroke, WorldError
from worldos.model.ids import NodeId
from worldos.model.realm import Contact
from worldos.model.resource import Kind
from worldos.model.rights import ACTUATOR, DEVICES, FILES, NODE, REALM, Path, file_labels, resource_path
from worldos.trust.feature_code import is_feature_code, names_account, read_feature_code
from worldos.trust.keys import ID_CHARS, public_of
from worldos.trust.limits import GRANT_PATHS_MAX

HOLDERS_MAX = 32
RESOURCE_LABELS_MAX = 8


class Holder(msgspec.Struct, frozen=True):
    """One device to which something is granted; ``own``: of this account."""

    node: NodeId
    name: str
    account: str
    own: bool = False


def holders_called(agent: Agent, text: str) -> tuple[Holder, ...]:
    """Find the devices that are meant: by name or id, or all of a person, an account or a realm that are known here."""
    text = text.strip()
    node = agent.node
    owner = str(node.registry.owner)
    own = [
        d for d in node.keylog.members().active if text in {d.node, d.name} or (text == "me" and d.node == node.node)
    ]
    if own:
        return tuple(Holder(device.node, device.name, owner, own=True) for device in own[:1])
    contacts = [kinsman.contact for _, kinsman in sorted(node.realms.kin.table.items())]
    for fits in (_by_code, _by_id, _by_account, _by_name):
        found = [contact for contact in contacts if fits(text, contact)]
        if found:
            return tuple(_holder(contact) for contact in found[:HOLDERS_MAX])
    if (realm := _realm(agent, text)) and (found := [c for c in contacts if realm in _realms_of(agent, c)]):
        return tuple(_holder(contact) for contact in found[:HOLDERS_MAX])
    card = node.contacts.called(read_feature_code(text)) if is_feature_code(text) else None
    if card is not None:
        devices = card.log.members().active[:HOLDERS_MAX]
        return tuple(Holder(device.node, device.name, card.account) for device in devices)
    if len(text) == ID_CHARS:
        try:
            public_of(text)
        except PeerBroke as cause:
            raise BadRequest("that is no id of a device", hint="copy the whole of it: wos whoami there") from cause
        return (Holder(NodeId(text), text[:8], ""),)
    hint = "say the id of their device (wos whoami there), or let them be known here first: wos contact add"
    raise BadRequest(f"nobody called {text[:60]!r} is known here", hint=hint)


def path_called(agent: Agent, text: str) -> tuple[Path, ...]:
    """Read what is meant: ``desk``, ``desk/CPU``, ``desk/CPU/0``, ``CPU`` (of all machines), ``files/photos``, ``realm/acme``."""
    owner = agent.node.registry.owner
    labels = tuple(label for label in text.strip().removeprefix("wos://").strip("/").split("/") if label)
    if any(label in {".", ".."} for label in labels) or len(labels) > RESOURCE_LABELS_MAX:
        raise BadRequest(f"{text[:60]!r} names nothing", hint="say desk/CPU, CPU, files/FOLDER, devices or realm/NAME")
    if labels[:1] == (NODE,) or labels[:1] == (owner,):
        labels = labels[1:]
    if not labels:
        return ((owner,),)
    first = labels[0]
    if first == DEVICES:
        return ((owner, *labels),)
    if first == FILES:
        return ((owner, FILES, *file_labels("/".join(labels[1:]))),)
    if first == REALM:
        named = (str(realm_called(agent, "/".join(labels[1:]))["realm"]),) if labels[1:] else ()
        return ((owner, REALM, *named),)
    devices = agent.node.keylog.members().active
    kinds = {kind.casefold(): str(kind) for kind in (*Kind, ACTUATOR, *_kinds(agent))}
    if len(labels) == 1 and first.casefold() in kinds and first not in {device.name for device in devices}:
        paths = tuple((owner, NODE, device.node, kinds[first.casefold()]) for device in devices)
        if len(paths) > GRANT_PATHS_MAX:
            raise BadRequest(f"a grant names {GRANT_PATHS_MAX} paths at most", hint="say which machine: desk/CPU")
        return paths
    for offer in agent.node.registry.offers.values():
        for resource in offer.resources:
            if text in {resource.id, resource.uri}:
                return (resource_path(owner, offer.node, resource.kind, resource.id),)
    found = [d.node for d in devices if first in {d.name, d.node} or (len(first) >= 4 and d.node.startswith(first))]
    if len(found) != 1:
        hint = "say a machine (wos devices), a kind (wos resources), files, devices or realm/NAME"
        raise BadRequest(f"{first[:60]!r} is no machine and no kind that is known here", hint=hint)
    kind = (kinds.get(labels[1].casefold(), labels[1]),) if labels[1:] else ()
    return ((owner, NODE, found[0], *kind, *labels[2:]),)


def path_shown(agent: Agent, path: Path) -> str:
    """Show a path as people say it: with the names of machines and realms."""
    names = {device.node: device.name for device in agent.node.keylog.members().devices}
    realms = {str(center.realm): center.name for center in agent.node.realms.centers.known.values()}
    account = str(agent.node.registry.owner)
    labels = list(path)
    if labels[:1] == [account]:
        labels = labels[1:]
    elif labels:
        labels[0] = labels[0][:8]
    if labels[:1] == [NODE] and len(labels) > 1:
        labels = labels[1:]
    if labels[:1] == [FILES]:
        labels = [unquote(label) for label in labels]
    return "/".join(names.get(NodeId(label), realms.get(label, label)) for label in labels) or "everything"


def _kinds(agent: Agent) -> list[str]:
    return sorted({resource.kind for offer in agent.node.registry.offers.values() for resource in offer.resources})


def _holder(contact: Contact) -> Holder:
    return Holder(contact.node, contact.name, str(contact.site))


def _by_code(text: str, contact: Contact) -> bool:
    if not is_feature_code(text):
        return False
    try:
        return names_account(text, contact.site)  # type: ignore[arg-type]
    except WorldError:
        return False


def _by_id(text: str, contact: Contact) -> bool:
    return text == contact.node


def _by_account(text: str, contact: Contact) -> bool:
    return text == contact.site


def _by_name(text: str, contact: Contact) -> bool:
    return text == contact.name


def _realm(agent: Agent, text: str) -> str:
    try:
        return str(realm_called(agent, text)["realm"])
    except WorldError:
        return ""


def _realms_of(agent: Agent, contact: Contact) -> set[str]:
    reasons = agent.node.realms.kin.reasons(contact.node)
    return {str(contact.site), *(reason.rpartition(" ")[2] for reason in reasons)}
