"""Settings of the streams: whether they can be read, and whether people can be told how their videos ended."""

from urllib.parse import urlsplit

from operations.core.findings import Finding, note, ok, problem
from operations.doctor.surroundings import Surroundings
from repo.environment import SettingsError
from streams.settings import StreamsSettings

CHECK = "settings"


async def check(around: Surroundings) -> list[Finding]:
    """Of this environment: run it in that of the streams. `openv up` tells its parts the public address itself."""
    try:
        settings = StreamsSettings()
    except SettingsError as error:
        return [problem(CHECK, str(error), "openv streams does not start so", "openv streams")]
    found: list[Finding] = []
    if settings.mailing is None:
        found.append(note(CHECK, "no mails are sent", "OPENV_SMTP_HOST and OPENV_SMTP_FROM would name the server"))
    elif settings.mailing.tls == "none" and settings.mailing.host not in ("localhost", "127.0.0.1", "::1"):
        why = "passwords and addresses go over the network as they are"
        found.append(problem(CHECK, "mails go out without TLS", why, "export OPENV_SMTP_TLS=starttls"))
    public = settings.openv_public_url
    if public is None:
        if not around.stack:
            found.append(
                note(CHECK, "OPENV_PUBLIC_URL is not set", "mails and webhooks can name no address of a video")
            )
    elif urlsplit(public).scheme not in ("http", "https") or not urlsplit(public).netloc:
        why = "mails and webhooks name addresses that lead nowhere"
        found.append(problem(CHECK, "OPENV_PUBLIC_URL is no address", why, "export OPENV_PUBLIC_URL=https://…"))
    if settings.openv_webhook_allow_http:
        found.append(note(CHECK, "webhooks may go over http", "whoever is on the way reads what they say"))
    return found or [ok(CHECK, "mails and webhooks can be sent")]
