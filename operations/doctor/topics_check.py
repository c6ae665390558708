"""Topics against the table in ``schemas/topics.py``, and topics of our name that are not in it."""

from operations.core.findings import Finding, Mends, first, note, ok, problem
from operations.doctor.surroundings import Surroundings
from repo.kafka_inspection import KafkaInspection
from repo.topic_admin import TopicAdmin, TopicState
from schemas.topics import TOPICS

CHECK = "topics"
PREFIX = "openv."


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    async with TopicAdmin(around.servers, timeout_s=10.0) as admin:
        states = await admin.describe()
    async with KafkaInspection(around.servers) as kafka:
        names = await kafka.topic_names()
    found = [one for state in states for one in judged(state)]
    unknown = [name for name in names if name.startswith(PREFIX) and name not in TOPICS]
    if unknown:
        why = "nothing of this version reads or writes them; an older version, a newer one or a typing error may"
        found.append(note(CHECK, f"not in the table: {first(unknown)}", why))
    return found or [ok(CHECK, f"all {len(states)} are as the table says")]


def judged(state: TopicState) -> list[Finding]:
    """One topic against its row. No finding names a command that deletes one: what is in it is not elsewhere."""
    if not state.differs:
        return []
    what = f"{state.name}: {'; '.join(state.differs)}"
    if state.partitions not in (None, TOPICS[state.name].partitions):
        why = (
            "keys are with other writers than OpenV's parts believe: decisions of one user may meet. A count can't be "
            "set back: stop the streams, and keep what is in it before anything else is done"
        )
        keep = f"openv replay {state.name} --into file:{state.name}.ndjson"
        return [problem(CHECK, what, why, keep)]
    why = "records go too early or too late, or carry another clock than decisions need"
    return [problem(CHECK, what, why, "openv topics apply", repair=Mends.TOPICS)]
