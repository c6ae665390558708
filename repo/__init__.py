"""Everything durable, behind three ports: the event log (Kafka), the job store (MongoDB), the object store (S3).

Concurrency: one asyncio loop a process; every adapter may be shared by its tasks.
Invariants: holds no rules; each port's memory twin passes the same contract suite as the real adapter.
May import: ``schemas`` and the client libraries: aiokafka (``kafka*``, ``topic_admin``, ``partitions``), motor
(``mongo``), aioboto3 (``s3``).
"""
