"""Write tests/golden/passkeys.json: what Chromium and its virtual authenticator really give, for ``trust/passkeys``.

``python -m tests.web.make_passkeys``: needs Debian's chromium. The page that asks is served by this program on the port
whose origin the assertions bear, and on another for the one that must be refused.
"""

from __future__ import annotations

import base64
import http.server
import json
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from worldos.trust.passkeys import challenge_of, rp_id_of

GOLDEN = Path(__file__).parents[1] / "golden" / "passkeys.json"
PORT, OTHER_PORT = 7381, 7399
CHROMIUM = "/usr/bin/chromium"
DOMAIN, MESSAGE = "keylog", b"golden message"

REGISTER = """async ([challenge, rp]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const made = await navigator.credentials.create({publicKey: {
    challenge: bytes(challenge), rp: {id: rp, name: "World OS"},
    user: {id: new Uint8Array([1]), name: "golden", displayName: "golden"},
    pubKeyCredParams: [{type: "public-key", alg: -7}], attestation: "none",
    authenticatorSelection: {residentKey: "preferred", userVerification: "required"}}});
  return made.toJSON();
}"""
ASSERT = """async ([challenge, rp]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const made = await navigator.credentials.get({publicKey: {
    challenge: bytes(challenge), rpId: rp, userVerification: "required"}});
  return made.toJSON();
}"""


class _Blank(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>passkeys</title>")

    def log_message(self, *words: Any) -> None: ...


def authenticator(page: Page) -> tuple[Any, str]:
    """Give this tab a virtual authenticator whose user always agrees."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    made = cdp.send(
        "WebAuthn.addVirtualAuthenticator",
        {"options": {**options, "isUserVerified": True, "automaticPresenceSimulation": True}},
    )
    return cdp, made["authenticatorId"]


def main() -> None:
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", port), _Blank) for port in (PORT, OTHER_PORT)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    origin, other = f"http://localhost:{PORT}", f"http://localhost:{OTHER_PORT}"
    created, asked = bytes(range(32)), challenge_of(DOMAIN, MESSAGE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(origin)
        authenticator(page)
        registration = page.evaluate(REGISTER, [base64.b64encode(created).decode(), rp_id_of(origin)])
        right = [page.evaluate(ASSERT, [base64.b64encode(asked).decode(), rp_id_of(origin)]) for _ in range(2)]
        page.goto(other)
        elsewhere = page.evaluate(ASSERT, [base64.b64encode(asked).decode(), rp_id_of(origin)])
        golden = {
            "made_by": f"Chromium {browser.version}, virtual authenticator ctap2 internal",
            "origin": origin,
            "domain": DOMAIN,
            "message": MESSAGE.decode(),
            "registration_challenge": base64.b64encode(created).decode(),
            "registration": registration,
            "assertions": right,
            "elsewhere": elsewhere,
        }
        browser.close()
    for server in servers:
        server.shutdown()
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
