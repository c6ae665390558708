"""Kafka: it answers, somebody leads, and what it acknowledges survives the loss of a broker as far as brokers allow."""

from operations.core.findings import Finding, first, note, ok, problem
from operations.doctor.surroundings import Surroundings
from repo.kafka_inspection import Cluster, KafkaInspection, Replication
from repo.topic_admin import REPLICAS_MAX
from schemas.topics import TOPICS

CHECK = "kafka"
STATUS = "kafka-topics.sh --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS --describe --under-replicated-partitions"

IN_SYNC = (
    "kafka-configs.sh --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS --alter --topic {} --add-config min.insync.replicas=2"
)


async def check(around: Surroundings) -> list[Finding]:
    """Raises ``Unavailable``."""
    async with KafkaInspection(around.servers) as kafka:
        cluster = await kafka.cluster()
        replication = await kafka.replication(list(TOPICS))
    count = len(cluster.brokers)
    found = [ok(CHECK, f"it answers: {count} {'broker' if count == 1 else 'brokers'}, cluster {cluster.cluster_id}")]
    found += judged(cluster, replication)
    return found


def judged(cluster: Cluster, replication: list[Replication]) -> list[Finding]:
    """What the brokers say of leaders and replicas."""
    found: list[Finding] = []
    if cluster.controller is None:
        found.append(problem(CHECK, "no broker leads", "nothing can be made or changed, and leaders are lost", STATUS))
    stuck = [one.topic for one in replication if one.in_sync < one.least_in_sync]
    if stuck:
        why = "writes with acks=all are refused: fewer replicas are in sync than min.insync.replicas asks for"
        found.append(problem(CHECK, f"can't be written: {first(stuck)}", why, STATUS))
    behind = [one.topic for one in replication if one.least_in_sync <= one.in_sync < one.replicas]
    if behind:
        found.append(problem(CHECK, f"replicas are behind: {first(behind)}", "one more loss may stop it", STATUS))
    wanted = min(REPLICAS_MAX, len(cluster.brokers))
    few = [f"{one.topic} ({one.replicas})" for one in replication if one.replicas < wanted]
    if few:
        why = f"a broker that dies takes them along; with {len(cluster.brokers)} brokers there could be {wanted}"
        mend = "kafka-reassign-partitions.sh --bootstrap-server $KAFKA_BOOTSTRAP_SERVERS --generate"
        found.append(problem(CHECK, f"too few replicas: {first(few)}", why, mend))
    weak = [one.topic for one in replication if one.replicas >= REPLICAS_MAX and one.least_in_sync < 2]
    if weak:
        why = "one broker's word is enough for a write, and is lost with it"
        found.append(problem(CHECK, f"min.insync.replicas is 1: {first(weak)}", why, IN_SYNC.format(weak[0])))
    if len(cluster.brokers) == 1:
        found.append(note(CHECK, "there is one broker", "what it holds is as safe as its disk"))
    return found
