"""In which order parts start, from what each one needs. Pure."""

from collections.abc import Mapping, Sequence


def start_waves(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Names in waves: each part comes after all it needs, as early as it can. Stopping goes through them backwards.

    ``needs`` maps every part's name to the names it needs. Raises ``ValueError`` for an unknown name or a circle.
    """
    unknown = sorted({need for wanted in needs.values() for need in wanted} - set(needs))
    if unknown:
        raise ValueError(f"unknown parts are needed: {', '.join(unknown)}")
    waves: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(needs):
        wave = [name for name, wanted in needs.items() if name not in placed and placed.issuperset(wanted)]
        if not wave:
            raise ValueError(f"parts need each other in a circle: {', '.join(sorted(set(needs) - placed))}")
        waves.append(wave)
        placed.update(wave)
    return waves
