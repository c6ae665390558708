"""Whether the address that a job came with can be told at all. Where its name leads is seen when it is told."""

from repo.core.addresses import Rules, read_networks, wrong_at_sight

ALL_NETWORKS = read_networks("0.0.0.0/0,::/0")
ALLOW_HTTP = "OPENV_WEBHOOK_ALLOW_HTTP"
ALLOWED_NETWORKS = "OPENV_WEBHOOK_ALLOWED_NETWORKS"


def wrong_with_webhook(url: str, rules: Rules) -> str | None:
    """What is wrong with it, as words that follow its name, and which settings of the operator would make it right;
    None where nothing is."""
    wrong = wrong_at_sight(url, rules)
    if wrong is None:
        return None
    for settings, allowing in (
        (ALLOW_HTTP, Rules(allow_http=True, networks=rules.networks)),
        (ALLOWED_NETWORKS, Rules(allow_http=rules.allow_http, networks=ALL_NETWORKS)),
        (f"{ALLOW_HTTP} and {ALLOWED_NETWORKS}", Rules(allow_http=True, networks=ALL_NETWORKS)),
    ):
        if wrong_at_sight(url, allowing) is None:
            return f"{wrong}, unless the operator allows others: {settings}"
    return wrong
