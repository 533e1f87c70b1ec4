"""Names: which node a person means, among the devices of the account and those of other accounts that are known here."""

from __future__ import annotations

from worldos.errors import BadRequest
from worldos.model.ids import NodeId
from worldos.node import Node
from worldos.trust.keys import ID_CHARS


def named_node(node: Node, text: str) -> NodeId:
    """Find a node by id, by the beginning of its id, or by name; devices of the account come first."""
    devices = {device.node: device.name for device in node.keylog.members().active}
    kin = {known: kinsman.contact.name for known, kinsman in node.realms.kin.table.items()}
    for known in (devices, kin):
        found = [each for each, name in sorted(known.items()) if text in {each, name}]
        found = found or [each for each in sorted(known) if len(text) >= 4 and each.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            raise BadRequest(f"{len(found)} machines are called {text[:60]!r}", hint="name it by its id: wos nodes")
    if len(text) == ID_CHARS and text.isalnum():
        return NodeId(text)
    raise BadRequest(f"no machine is called {text[:60]!r} here", hint="wos nodes and wos devices list them")


def device_called(node: Node, text: str) -> NodeId:
    """Find an active device of the account by id, by the beginning of its id, or by name."""
    active = node.keylog.members().active
    exact = [d.node for d in active if text in {d.node, d.name}]
    found = exact or [d.node for d in active if len(text) >= 4 and d.node.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadRequest(f"{len(found)} devices are called {text!r}", hint="name it by its id: wos devices")
    raise BadRequest(f"no device is called {text[:60]!r}", hint="wos devices lists them")


def name_of(node: Node, known: str) -> str:
    """Return what a node is called, or the beginning of its id."""
    device = node.keylog.members().get(known)
    if device is not None:
        return device.name
    contact = node.realms.kin.contact(NodeId(known))
    return contact.name if contact is not None else known[:12]
