"""The page in a real Chromium: what a person does on it, and what other sites do to them meanwhile."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect
from tests.agent.agents import RunningAgent, new_home, running, running_pair, same_account, until
from tests.e2e.chrome import CHROMIUM, EVIL, Authenticator, chromium, served
from tests.files.homes import log_of
from tests.trust.test_passkeys import raw
from tests.web.make_passkeys import ASSERT
from tests.web.pages import RunningPage, page_of

from worldos.agent.start import make_account
from worldos.errors import NotAllowed
from worldos.home import Home
from worldos.trust.entries import RemoveKey, read_entry
from worldos.trust.keys import DeviceKey
from worldos.trust.passkeys import Assertion, challenge_of, read_assertion, write_assertion
from worldos.trust.sayings import approve
from worldos.trust.words import seed_from_words
from worldos.web.work import carry_out

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def agent() -> Iterator[RunningAgent]:
    with tempfile.TemporaryDirectory(prefix="wos-p-") as folder, running(new_home(Path(folder) / "desk")) as agent:
        yield agent


@pytest.fixture(scope="module")
def page(agent: RunningAgent) -> Iterator[RunningPage]:
    with page_of(agent.home) as page:
        yield page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser, page: RunningPage) -> Iterator[Page]:
    """A tab of somebody who came in; nothing may be wrong in its console, and no dialog may open."""
    context = browser.new_context()
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    tab.goto(page.link())
    expect(tab.locator("h1")).to_have_text("Me")
    yield tab
    context.close()
    assert not wrong, wrong


def view(tab: Page, page: RunningPage, name: str) -> None:
    tab.goto(f"http://localhost:{page.port}/#/{name}")


def test_a_person_comes_in_by_the_link_once(browser: Browser, page: RunningPage) -> None:
    link = page.link()
    first, second = browser.new_context(), browser.new_context()
    tab = first.new_page()
    tab.goto(link)
    expect(tab.locator("nav a").first).to_be_visible()
    assert "in=" not in tab.url  # neither in the address nor in the history
    late = second.new_page()
    late.goto(link)
    expect(late.get_by_text("this link was used already")).to_be_visible()
    tab.reload()
    expect(tab.locator("nav a").first).to_be_visible()
    first.close()
    second.close()


def test_a_tab_without_the_second_secret_is_not_signed_in(browser: Browser, page: RunningPage) -> None:
    """The cookie is there, as it would be at another port of localhost; it is not enough."""
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(page.link())
    expect(tab.locator("nav a").first).to_be_visible()
    assert [cookie["name"] for cookie in context.cookies()] == ["wos-page"]
    other = context.new_page()
    other.goto(f"http://localhost:{page.port}/#/devices")
    expect(other.get_by_text("You are not signed in here")).to_be_visible()
    assert tab.evaluate("document.cookie") == ""
    context.close()


def test_a_session_is_begun_and_written_in(tab: Page, page: RunningPage, agent: RunningAgent) -> None:
    view(tab, page, "sessions")
    tab.get_by_role("button", name="Start a session").click()
    tab.get_by_label("Name").fill("report")
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.get_by_label("Text").fill("the first words")
    tab.get_by_role("button", name="Send").click()
    expect(tab.locator(".flow")).to_contain_text("the first words")
    (row,) = [row for row in agent.ask("session_list") if row["name"] == "report"]
    assert agent.ask("session_show", session=row["id"])["ops"][-1]["text"] == "the first words"
    agent.ask("session_say", session=row["id"], text="from the command line")
    expect(tab.locator(".flow")).to_contain_text("from the command line")


def test_a_job_is_watched_read_cancelled_and_run_again(tab: Page, page: RunningPage, agent: RunningAgent) -> None:
    def act(name: str, /, **arguments: object) -> Any:
        return carry_out(agent.home, name, arguments, "a test")

    view(tab, page, "work")
    expect(tab.get_by_text("Nothing waits and nothing runs")).to_be_visible()
    job = act("submit", command=["sh", "-c", f"echo '{HOSTILE}'; sleep 100"], array="1-2", name=f"frames {HOSTILE}").job
    act("queue_put", queue="letters", texts=["x"])
    expect(tab.get_by_text("1 message waiting")).to_be_visible()
    tab.get_by_text(f"frames {HOSTILE}").click()
    tab.get_by_text("Task 2").click()
    expect(tab.locator(".flow")).to_have_text(HOSTILE)
    tab.get_by_role("link", name="The whole job").click()
    tab.get_by_role("button", name="Cancel", exact=True).click()
    expect(tab.locator("dialog")).to_contain_text("2 of 2 tasks have not ended")
    tab.get_by_role("button", name="Cancel it").click()
    expect(tab.locator("main .tag").first).to_have_text("dropped")
    tab.get_by_role("button", name="Run again").click()
    expect(tab.locator("main .tag").first).to_have_text("waiting")  # until what was cancelled has surely stopped
    assert tab.locator("main img, main script").count() == 0
    act("cancel", job=job)


def test_names_of_strangers_are_text(tab: Page, page: RunningPage, agent: RunningAgent) -> None:
    row = agent.ask("session_start", name=HOSTILE)
    agent.ask("session_say", session=row["id"], text="<script>alert(2)</script>")
    view(tab, page, "sessions")
    expect(tab.get_by_text(HOSTILE)).to_be_visible()
    view(tab, page, f"sessions/{row['id']}")
    expect(tab.locator(".flow")).to_contain_text("<script>alert(2)</script>")
    assert tab.locator("main img, main script").count() == 0
    view(tab, page, "<svg onload=alert(3)>")
    expect(tab.locator("h1")).to_have_text("Me")


def test_markup_cannot_be_assigned(browser: Browser, page: RunningPage) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(page.link())
    expect(tab.locator("nav a").first).to_be_visible()
    tried = "() => { try { document.body.innerHTML = '<b>x</b>'; return '' } catch (error) { return error.name } }"
    assert tab.evaluate(tried) == "TypeError"
    context.close()


def test_a_rebound_name_gets_no_page(browser: Browser, page: RunningPage) -> None:
    """The attacker's name points to this machine now: the browser sends it, and the page is not called so."""
    context = browser.new_context()
    tab = context.new_page()
    answer = tab.goto(f"http://{EVIL}:{page.port}/")
    assert answer is not None
    assert answer.status == 403
    assert tab.locator("script").count() == 0
    said = tab.evaluate(
        "fetch('/ask/devices', {method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'}).then((a) => a.status)"
    )
    assert said == 403
    context.close()


def test_a_passkey_made_on_the_page_approves_a_command_and_one_used_elsewhere_does_not(
    browser: Browser, page: RunningPage, agent: RunningAgent, tab: Page
) -> None:
    """Once on the page; and once lured to another port of this machine, where the same passkey signs the same challenge."""
    authenticator = Authenticator(tab)
    tab.get_by_role("button", name="Add a passkey").click()
    tab.get_by_label("What to call it").fill("my phone")
    tab.get_by_role("button", name="Make it").click()
    expect(tab.get_by_text("The passkey is in your account")).to_be_visible()
    (made,) = agent.ask("passkeys")
    assert (made["name"], made["rp"]) == ("my phone", f"http://localhost:{page.port}")

    approver = {"who": "", "owner": "bert", "passkey": made["public"], "rp": made["rp"]}
    agent.ask("guard_roll", plan={"approvers": [approver], "level": "home"})
    row = agent.ask("guard_propose", action=["config", "place", "cellar"])
    draft = agent.ask("guard_to_sign", command=row["id"])
    with served("<!doctype html><title>you have won</title>") as port:
        lured = browser.new_context()
        other = lured.new_page()
        other.goto(f"http://localhost:{port}/")
        Authenticator(other).take(authenticator.credentials())
        challenge = base64.b64encode(challenge_of(draft["domain"], draft["message"])).decode()
        got = other.evaluate(ASSERT, [challenge, "localhost"])["response"]
        lured.close()
    stolen = Assertion(
        authenticator=raw(got["authenticatorData"]), client=raw(got["clientDataJSON"]), signature=raw(got["signature"])
    )
    assert b'"origin":"http://localhost:' in stolen.client
    with pytest.raises(NotAllowed):
        agent.ask("guard_approve", command=row["id"], passkey=made["public"], assertion=write_assertion(stolen))
    assert agent.ask("guard_status", command=row["id"])[0]["approvals"] == []

    view(tab, page, f"approvals/{row['id']}")
    expect(tab.get_by_text("set place to cellar").first).to_be_visible()
    tab.get_by_role("button", name="Approve by passkey").click()
    tab.locator("dialog").get_by_role("button", name="Approve by passkey").click()
    expect(tab.get_by_text("Approved by your passkey")).to_be_visible()
    (approved,) = agent.ask("guard_status", command=row["id"])
    assert [approval["owner"] for approval in approved["approvals"]] == ["bert"]


VIEWS = ("me", "devices", "work", "approvals", "sessions", "roles", "security", "decisions", "decisions/0")


def test_every_view_draws_itself_and_fits_a_small_phone(tab: Page, page: RunningPage) -> None:
    tab.set_viewport_size({"width": 360, "height": 740})
    for name in VIEWS:
        view(tab, page, name)
        expect(tab.locator(f"nav a[aria-current][data-view={name.split('/')[0]}]")).to_be_visible()
        expect(tab.locator("main .card").first).to_be_visible()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360, name
    for link in tab.locator("nav a").all():
        box = link.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["height"] >= 40


ATTACK = """<!doctype html><form id="f" method="post" action="http://localhost:PORT/ask/session_start" enctype="text/plain">
<input name='{"name":"forged","x":"' value='"}'></form><script>
window.tried = (async () => {
  const tries = [];
  for (const mode of ["cors", "no-cors"]) for (const type of ["application/json", "text/plain"]) {
    try {
      const answer = await fetch("http://localhost:PORT/ask/session_start", {method: "POST", mode, credentials: "include",
        headers: {"content-type": type}, body: '{"name": "forged"}'});
      tries.push(mode + " " + answer.type + " " + answer.status + " " + (await answer.text()));
    } catch (e) { tries.push(mode + " " + e.name); }
  }
  return tries;
})();
</script>"""


@pytest.mark.parametrize("host", ["localhost", EVIL])
def test_another_page_of_this_machine_cannot_act_for_who_is_signed_in(
    browser: Browser, page: RunningPage, agent: RunningAgent, host: str
) -> None:
    """A page at another port of localhost is the same *site*: the browser sends it the cookie, and ours too."""
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(page.link())
    expect(tab.locator("nav a").first).to_be_visible()
    with served(ATTACK.replace("PORT", str(page.port))) as port:
        tab.goto(f"http://{host}:{port}/")
        for tried in tab.evaluate("window.tried"):
            assert "forged" not in tried
            assert " 200 " not in tried
        tab.evaluate("document.getElementById('f').submit()")
        tab.wait_for_url(f"http://localhost:{page.port}/**")
    assert not [row for row in agent.ask("session_list") if "forged" in row["name"]]
    context.close()


def test_the_page_is_in_no_frame(browser: Browser, page: RunningPage) -> None:
    context = browser.new_context()
    tab = context.new_page()
    with served(f'<iframe src="http://localhost:{page.port}/"></iframe>') as port:
        tab.goto(f"http://localhost:{port}/")
        frame = tab.frames[-1]
        assert frame.locator("#app").count() == 0
    context.close()


def test_a_session_goes_on_in_the_browser_of_another_device(browser: Browser) -> None:
    """Begun on the desk, read along on the attic's page, taken over there; then the desk is only a reader."""
    with tempfile.TemporaryDirectory(prefix="wos-p-") as folder, running_pair(Path(folder)) as (desk, attic):
        row = desk.ask("session_start", name="report")
        desk.ask("session_say", session=row["id"], text="begun on the desk")
        until(
            lambda: any(one["id"] == row["id"] and one["readable"] for one in attic.ask("session_list")),
            "it is there",
            20,
        )
        with page_of(attic.home) as page:
            context = browser.new_context()
            tab = context.new_page()
            tab.goto(page.link())
            expect(tab.locator("h1")).to_have_text("Me")
            view(tab, page, f"sessions/{row['id']}")
            flow = tab.locator(".flow")
            expect(flow).to_contain_text("begun on the desk", timeout=20_000)
            desk.ask("session_say", session=row["id"], text="and one more word")
            expect(flow).to_contain_text("and one more word", timeout=20_000)
            assert tab.get_by_label("Text").count() == 0
            tab.get_by_role("button", name="Take over here").click()
            tab.get_by_label("Text").fill("written in the attic")
            tab.get_by_role("button", name="Send").click()
            expect(flow).to_contain_text("written in the attic")
            context.close()
        until(
            lambda: "attic" in str(desk.ask("session_show", session=row["id"])["ops"][-1]["text"]),
            "the desk reads it",
            20,
        )
        with pytest.raises(NotAllowed):
            desk.ask("session_say", session=row["id"], text="too late")


def test_a_passkey_in_the_browser_puts_a_stolen_machine_out(browser: Browser) -> None:
    """The passkey is made grown by the words; then it, and not the machine in front of us, signs the removal."""
    with tempfile.TemporaryDirectory(prefix="wos-p-") as folder:
        desk, attic = Home(Path(folder) / "desk"), Home(Path(folder) / "attic")
        for home in (desk, attic):
            home.path.mkdir(mode=0o700)
        words = make_account(desk, "desk")
        same_account(desk, attic, words)
        with running(desk) as agent, page_of(desk) as page:
            context = browser.new_context()
            tab = context.new_page()
            tab.goto(page.link())
            Authenticator(tab)
            tab.get_by_role("button", name="Add a passkey").click()
            tab.get_by_label("What to call it").fill("my phone")
            tab.get_by_role("button", name="Make it").click()
            expect(tab.get_by_text("The passkey is in your account")).to_be_visible()
            (made,) = agent.ask("passkeys")
            until(lambda: made["key"] in log_of(desk).keys, "it is on disk")
            entry = approve(log_of(desk), DeviceKey.from_seed(seed_from_words(words)), made["key"])
            agent.ask("learn", entries=((entry.body, entry.signature),))
            tab.reload()
            expect(tab.get_by_text("weight 3")).to_be_visible()
            row = tab.locator(".row", has=tab.get_by_text("attic", exact=True))
            row.get_by_role("button", name="Remove").click()
            tab.locator("dialog").get_by_role("button", name="Remove").click()
            expect(tab.get_by_text("attic is removed")).to_be_visible()
            status = {device["name"]: device["status"] for device in agent.ask("devices")}
            assert status == {"desk": "active", "attic": "revoked"}
            (removal,) = [
                signed for signed in log_of(desk).entries.values() if isinstance(read_entry(signed), RemoveKey)
            ]
            assert f'"origin":"{made["rp"]}"'.encode() in read_assertion(removal.signature).client
            context.close()
