"""Which files a job document shows to its owner: all others of the job may go once it has ended."""

from schemas.jobs import Output

Place = tuple[str | None, str]  # the store's name, and the key


def shown(output: Output | None) -> frozenset[Place]:
    """Where they lie."""
    if output is None:
        return frozenset()
    files = (output.video, output.poster, output.thumbnail)
    places = [(file.store, file.key) for file in files if file is not None]
    return frozenset([*places, *([(None, output.value_key)] if output.value_key else [])])
