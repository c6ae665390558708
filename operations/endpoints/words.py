"""What a person is told of a serverless endpoint: pure. The commands put these words into tables and sentences."""

from schemas.endpoints import EndpointLimits, ServerlessEndpoint

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000))
_HELD_BY = "OPENV_MAX_ACTIVE, OPENV_RATE_LIMIT"


def limits_in_words(limits: EndpointLimits | None) -> str:
    """Whose limits hold for one user there, and what they are as far as the endpoint knows."""
    if limits is None:
        return f"the deployment's ({_HELD_BY})"
    return f"its own: {_in_numbers(limits)}"


def limits_moved(old: EndpointLimits | None, new: EndpointLimits | None) -> str | None:
    """Where others' limits hold from now on than before."""
    if old is None and new is not None:
        return f"From now on it has limits of its own, not the deployment's: {_in_numbers(new)}."
    if old is not None and new is None:
        return (
            f"From now on it has no limits of its own: the deployment's hold ({_HELD_BY}), counted together with all "
            "else that a user has under way."
        )
    return None


def doubt(endpoint: ServerlessEndpoint) -> str | None:
    """Why its times are likely not what was meant."""
    if endpoint.ttl_ms >= endpoint.execution_timeout_ms:
        return None
    return (
        f"Note: a job's ttl ({span(endpoint.ttl_ms)}) runs from its submission and ends everything, so no try of it "
        f"can ever take the execution timeout ({span(endpoint.execution_timeout_ms)}), and one that had to wait gets "
        "less. Make --ttl longer, or --execution-timeout shorter."
    )


def who(endpoint: ServerlessEndpoint) -> str:
    """Those who may use it."""
    return "everyone" if endpoint.users is None else ", ".join(endpoint.users)


def span(ms: int) -> str:
    """A time in the largest unit that says it exactly."""
    for unit, size in _UNITS:
        if ms and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:g} s"


def counted(jobs: int) -> str:
    """``1 job is``, ``No jobs are``: the begin of a sentence."""
    return f"{jobs or 'No'} job{' is' if jobs == 1 else 's are'}"


def under_way(jobs: int) -> str:
    """A sentence about the jobs of an endpoint that goes."""
    return f"{counted(jobs)} under way{' and will go on' if jobs else ''}."


def _in_numbers(limits: EndpointLimits) -> str:
    return f"{limits.max_active} jobs at once, {limits.rate_limit} requests in {limits.rate_window_ms / 1000:g} s"
