"""A call: one order of a program under way, and how to tell the program something before the answer."""

from __future__ import annotations

from typing import Any

import msgspec

from worldos.agent.local_api import Client
from worldos.model.local import Progress


class Call(msgspec.Struct, frozen=True):
    """Who asked for an order, and as which request."""

    client: Client
    request: int

    def progress(self, value: Any) -> None:
        """Send a word on the way."""
        self.client.tell(Progress(request=self.request, value=value))
