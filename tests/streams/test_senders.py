"""What leaves: signatures as a receiver checks them, and which answers count. Mail against a real SMTP server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from repo.clock import now_ms
from repo.core.addresses import Rules, read_networks
from repo.memory import MemoryDatabase
from repo.outgoing import Answer, Outgoing
from schemas.access import Person
from schemas.deliveries import Delivery, DeliveryKind, Hooks, RetiredSecret
from streams.core.deliveries import Result
from streams.core.notices import deliveries_of
from streams.mail import MailSender
from streams.senders import Sender, Skip, WebhookSender, fault_of, headers_of
from streams.settings import Mailing
from tests.servers import closed_port
from tests.streams.core.test_notices import NOW, endpoint, job
from tests.streams.post import Post

OLD, NEW = "whsec_b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQ=", "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXc="


def mail() -> Delivery:
    (made,) = deliveries_of(job(), Hooks(user_id="ann"), NOW, origin="https://v.example", mail=True)
    return made


async def sent(sender: Sender, delivery: Delivery) -> Result:
    prepared = await sender.prepare(delivery)
    assert not isinstance(prepared, Skip), prepared
    return await prepared()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.booleans(), st.integers(-1, 1))
def test_a_receiver_finds_its_signature_while_secrets_change(body: str, rotated: bool, late: int) -> None:
    at = now_ms()
    delivery = replace(mail(), body=body)
    previous = {"retired": (RetiredSecret(secret=OLD, until=at - late),)} if rotated else {}
    headers = headers_of(delivery, endpoint("a", secret=NEW, **previous), at)
    Webhook(NEW).verify(body.encode(), headers, json_parse=False)
    old_signs = rotated and late < 0
    if old_signs:
        Webhook(OLD).verify(body.encode(), headers, json_parse=False)
    else:
        with pytest.raises(WebhookVerificationError):
            Webhook(OLD).verify(body.encode(), headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(f"{body} ".encode(), headers, json_parse=False)
    assert headers["webhook-id"] == delivery.delivery_id


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(status=200), None),
        (Answer(status=299), None),
        (Answer(status=302), "HTTP 302: redirects are not followed"),
        (Answer(status=199), "HTTP 199"),
        (Answer(status=400), "HTTP 400"),
        (Answer(status=503), "HTTP 503"),
        (Answer(error="could not connect"), "could not connect"),
    ],
)
def test_only_2xx_counts(answer: Answer, fault: str | None) -> None:
    assert fault_of(answer) == fault


async def test_nobody_is_sent_to_who_is_gone_or_off() -> None:
    post = Post()
    await post.endpoint(endpoint_id="off", enabled=False)
    async with Outgoing(Rules()) as outgoing:
        sender = WebhookSender(post.store, outgoing, lambda: NOW)
        assert await sender.prepare(await post.add("m1", endpoint_id="gone")) == Skip("The endpoint was deleted.")
        assert await sender.prepare(await post.add("m2", endpoint_id="off")) == Skip("The endpoint is disabled.")
        test = await post.add("m3", endpoint_id="off", kind=DeliveryKind.TEST)
        assert not isinstance(await sender.prepare(test), Skip)


async def test_what_is_sent_is_what_was_written_down_and_no_secret_is_logged() -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append((dict(request.headers), await request.read()))
        return web.Response(status=503, headers={"Retry-After": "60"})

    app = web.Application()
    app.router.add_post("/", note)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    post = Post()
    await post.endpoint(secret=NEW, url=f"http://127.0.0.1:{runner.addresses[0][1]}/?key=hidden")
    delivery = await post.add("m1", body='{"type":"video.failed","ä":1}')
    try:
        rules = Rules(allow_http=True, networks=read_networks("127.0.0.0/8"))
        with structlog.testing.capture_logs() as logs:
            async with Outgoing(rules) as outgoing:
                result = await sent(WebhookSender(post.store, outgoing, now_ms), delivery)
    finally:
        await runner.cleanup()
    ((headers, body),) = seen
    assert Webhook(NEW).verify(body, headers) == {"type": "video.failed", "ä": 1}
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("OpenV-Webhooks/")
    assert (result.status, result.error, result.retry_after_ms) == (503, "HTTP 503", 60_000)
    assert "hidden" not in f"{logs}{result}"
    assert NEW not in f"{logs}{result}{await post.store.hooks('ann')}"


class Mailbox:
    """An SMTP server on a free port. ``refuse`` maps an address to what it is told."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, list[str], bytes]] = []
        self.refuse: dict[str, str] = {}
        self.port = 0

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.letters.append((envelope.mail_from or "", list(envelope.rcpt_tos), envelope.content))
        return "250 kept"


@asynccontextmanager
async def smtp(**how: Any) -> AsyncIterator[Mailbox]:
    box = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop, **how), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


async def sender_for(box_port: int, email: str | None, **how: Any) -> MailSender:
    database = MemoryDatabase()
    await database.access.store_person(Person(user_id="ann", updated_at=1, email=email, **how.pop("person", {})))
    values: dict[str, Any] = {"host": "127.0.0.1", "port": box_port, "sender": "OpenV <v@mail.example>", "tls": "none"}
    return MailSender(database.access, Mailing(**(values | how)), "https://v.example", lambda: NOW)


async def test_a_mail_arrives_the_same_at_every_try_and_without_the_prompt() -> None:
    async with smtp() as box:
        sender = await sender_for(box.port, "ann@home.example")
        for _ in range(2):
            assert (await sent(sender, mail())).succeeded
    (first, second) = box.letters
    assert first == second
    assert first[:2] == ("v@mail.example", ["ann@home.example"])
    letter = message_from_bytes(first[2], policy=policy.default)
    assert letter["Message-ID"] == f"<{mail().delivery_id}@mail.example>"
    assert (letter["From"], letter["To"]) == ("OpenV <v@mail.example>", "ann@home.example")
    assert letter["Auto-Submitted"] == "auto-generated"
    text = letter.get_body().get_content()
    assert "The model failed." in text
    assert "https://v.example/" in text
    assert b"secret wish" not in first[2]


@pytest.mark.parametrize(
    "address",
    [
        "ann@home.example\r\nBcc: all@home.example",
        "ann@home.example\nRCPT TO:<all@home.example>",
        "ann@home.example, bob@home.example",
        "ann",
        "@home.example",
        "<ann@home.example",
        "\0@home.example",
        "",
        None,
    ],
)
async def test_nobody_writes_into_the_headers_through_an_address(address: str | None) -> None:
    async with smtp() as box:
        prepared = await (await sender_for(box.port, address)).prepare(mail())
        if not isinstance(prepared, Skip):
            await prepared()
        assert box.letters == []
        assert isinstance(prepared, Skip)


async def test_a_deleted_person_gets_none() -> None:
    sender = await sender_for(1, "ann@home.example", person={"deleted_at": 5})
    assert isinstance(await sender.prepare(mail()), Skip)


async def test_what_a_mail_server_refuses_for_good_is_given_up_and_the_rest_is_tried_again() -> None:
    async with smtp() as box:
        sender = await sender_for(box.port, "ann@home.example")
        box.refuse["ann@home.example"] = "550 no ann@home.example here"
        never = await sent(sender, mail())
        box.refuse["ann@home.example"] = "451 later"
        later = await sent(sender, mail())
    away = await sent(await sender_for(closed_port(), "ann@home.example"), mail())
    assert (never.final, later.final, away.final) == (True, False, False)
    assert not any(one.succeeded for one in (never, later, away))
    assert "home.example" not in f"{never}{later}{away}"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_login_that_is_refused_is_the_operators_to_put_right() -> None:
    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    async with smtp(authenticator=check, auth_required=True, auth_require_tls=False) as box:
        right = await sender_for(box.port, "ann@home.example", username="v", password="right")
        wrong = await sender_for(box.port, "ann@home.example", username="v", password="wrong")
        assert (await sent(right, mail())).succeeded
        refused = await sent(wrong, mail())
    assert (refused.error, refused.final) == ("the mail server refuses the login (535)", False)
    assert len(box.letters) == 1


async def test_starttls_is_insisted_upon() -> None:
    """A server, or somebody in between, that offers none gets no mail in the clear."""
    async with smtp() as box:
        sender = await sender_for(box.port, "ann@home.example", tls="starttls")
        assert not (await sent(sender, mail())).succeeded
        assert box.letters == []


async def test_a_mail_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.mail.WITHIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = await sender_for(listener.getsockname()[1], "ann@home.example")
        result = await sent(sender, mail())
    assert result.error == "the mail server does not answer as it should"
    assert not result.final
