"""The sender of mails, over one SMTP server."""

import asyncio
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr

import aiosmtplib

from repo.access import AccessStore
from repo.core.documents import DamagedDocumentError
from schemas.deliveries import Delivery
from schemas.instants import to_datetime
from streams.core.deliveries import Result
from streams.core.mail import Letter, letter_of
from streams.senders import Clock, Skip, Try
from streams.settings import Mailing

WITHIN_S = 15.0
NO_ADDRESS = "There is no e-mail address of this user."


class MailSender:
    """To the address that the identity provider names when the mail is sent."""

    def __init__(self, access: AccessStore, mailing: Mailing, origin: str | None, clock: Clock) -> None:
        self._access = access
        self._mailing = mailing
        self._origin = origin
        self._clock = clock

    async def prepare(self, delivery: Delivery) -> Try | Skip:
        """See ``Sender.prepare``."""
        try:
            person = await self._access.person(delivery.user_id)
        except DamagedDocumentError:
            return Skip(NO_ADDRESS)
        if person is None or person.deleted_at is not None or not person.email:
            return Skip(NO_ADDRESS)
        letter = letter_of(delivery, self._origin, domain_of(self._mailing.sender))
        try:
            message = message_of(letter, self._mailing.sender, person.email, delivery.created_at)
        except (ValueError, MessageError, IndexError):  # nothing that can be written to; the parser has many ways
            return Skip("The e-mail address of this user can't be written to.")
        return lambda: self._send(message)

    async def _send(self, message: EmailMessage) -> Result:
        began = self._clock()
        error, final = None, False
        mailing = self._mailing
        try:
            async with asyncio.timeout(WITHIN_S):  # the library's own bounds each of its steps
                await aiosmtplib.send(
                    message,
                    hostname=mailing.host,
                    port=mailing.port,
                    username=mailing.username,
                    password=mailing.password,
                    use_tls=mailing.tls == "tls",
                    start_tls=mailing.tls == "starttls",
                    timeout=WITHIN_S,
                )
        except aiosmtplib.SMTPAuthenticationError as failure:  # the operator's to put right, not the letter's fault
            error = f"the mail server refuses the login ({failure.code})"
        except aiosmtplib.SMTPRecipientsRefused as failure:
            codes = [one.code for one in failure.recipients]
            error, final = f"the mail server refuses the address ({codes[0]})", min(codes) >= 500
        except aiosmtplib.SMTPResponseException as failure:
            error, final = f"the mail server refuses ({failure.code})", failure.code >= 500
        except (aiosmtplib.SMTPException, OSError, ValueError):
            error = "the mail server does not answer as it should"
        return Result(at=began, duration_ms=max(0, self._clock() - began), error=error, final=final)


def message_of(letter: Letter, sender: str, to: str, at: int) -> EmailMessage:
    """The mail as it is sent. Raises ValueError or MessageError for an address that is none, or more than one."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(addr_spec=to)
    message["Subject"] = letter.subject
    message["Message-ID"] = letter.message_id
    message["Date"] = to_datetime(at)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(letter.text)
    return message


def domain_of(sender: str) -> str:
    """The domain of ``Name <who@where>``."""
    return parseaddr(sender)[1].rpartition("@")[2]
