"""A broker as an operator of a shared cluster runs it: TLS, names and passwords (SCRAM), client certificates, rights.

Two listeners: SASL_SSL, and SSL that wants a certificate. Nobody has a right that nobody granted.
"""

import datetime as dt
import ipaddress
import shlex
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operations.stack.child import JAVA_LOGGING, Child, Command, run_to_end, server_environment
from operations.stack.jars import ensure_jars
from operations.stack.java import find_java
from operations.stack.ports import LOOPBACK
from repo.clock import now_ms
from tests.servers import closed_port

ADMIN = "admin"
HERE = Path(__file__).parent
WITHIN_S = 120.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=NAMED://{host}:{named},CERTIFIED://{host}:{certified},CONTROLLER://{host}:{controller}
advertised.listeners=NAMED://{host}:{named},CERTIFIED://{host}:{certified}
listener.security.protocol.map=NAMED:SASL_SSL,CERTIFIED:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=NAMED
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.named.scram-sha-512.sasl.jaas.config={jaas}
ssl.keystore.type=PEM
ssl.keystore.location={broker}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.certified.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([^,]+)$/$1/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
# The broker itself, and its controller's listener on the loopback address.
super.users=User:{admin};User:ANONYMOUS
log.dirs={log}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=10485760
"""


class Authority:
    """Signs certificates; files lie in ``folder``, PEM."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self._certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, password: str | None = None) -> tuple[Path, Path]:
        """Certificate and key of this name, which is also valid for the loopback address."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))])
        certificate, file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(self._signed(subject, key, address).public_bytes(serialization.Encoding.PEM))
        how = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
        return certificate, file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = dt.datetime.fromtimestamp(now_ms() / 1000, dt.UTC)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1))
        builder = builder.not_valid_after(now + dt.timedelta(days=1))
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


@dataclass(frozen=True)
class SecureKafka:
    """The running broker."""

    folder: Path
    authority: Authority
    named: str
    certified: str
    passwords: Mapping[str, str]
    java: str
    class_path: str

    def environment(self, name: str) -> dict[str, str]:
        """How a part of this name connects, by name and password."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.named,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": name,
            "KAFKA_SASL_PASSWORD": self.passwords[name],
            "KAFKA_SSL_CAFILE": str(self.authority.ca),
        }

    async def grant(self, lines: Iterable[str]) -> None:
        """Run these lines of ``kafka-acls.sh``, as they are printed, in one process."""
        file = self.folder / "acls.txt"
        file.write_text("".join(f"{shlex.join(shlex.split(line)[1:])}\n" for line in lines))
        argv = (self.java, *JAVA_LOGGING, str(HERE / "AclCommands.java"), str(file))
        command = Command(argv, {**server_environment({}), "CLASSPATH": self.class_path})
        log = self.folder / "acls.log"
        assert await run_to_end(command, log, WITHIN_S) == 0, log.read_text()

    def admin_file(self) -> Path:
        """``--command-config`` of whoever may grant rights."""
        file = self.folder / "admin.properties"
        file.write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
            f"sasl.jaas.config={_jaas(self.passwords[ADMIN])}\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.authority.ca}\n"
        )
        return file


@asynccontextmanager
async def secure_kafka(folder: Path, names: Iterable[str], environ: Mapping[str, str]) -> AsyncIterator[SecureKafka]:
    """A broker that knows these names and an administrator's, ready; its files in ``folder``, which exists."""
    java, jars = find_java(), await ensure_jars(lambda _: None, environ)
    authority = Authority(folder)
    certificate, key = authority.issue("broker")
    both = folder / "broker.both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    ports = {name: closed_port() for name in ("named", "certified", "controller")}
    passwords = {name: uuid.uuid4().hex for name in (ADMIN, *names)}
    properties = folder / "server.properties"
    where = {"broker": both, "ca": authority.ca, "log": folder / "log", "jaas": _jaas(passwords[ADMIN])}
    properties.write_text(_PROPERTIES.format(host=LOOPBACK, admin=ADMIN, **ports, **where))

    def run(main: str, *arguments: str, heap_mb: int) -> Command:
        flags = (f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return Command(
            (java, *flags, *JAVA_LOGGING, main, *arguments), {**server_environment({}), "CLASSPATH": jars.kafka}
        )

    scram = [
        word
        for name, password in passwords.items()
        for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
    ]
    cluster = urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
    formatting = run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), *scram, heap_mb=128)
    assert await run_to_end(formatting, folder / "format.log", WITHIN_S) == 0, (folder / "format.log").read_text()
    broker = Child.start(run("kafka.Kafka", str(properties), heap_mb=256), folder / "broker.log")
    try:
        yield SecureKafka(
            folder,
            authority,
            f"{LOOPBACK}:{ports['named']}",
            f"{LOOPBACK}:{ports['certified']}",
            passwords,
            java,
            jars.kafka,
        )
    finally:
        broker.kill()


def _jaas(password: str) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return f'{module} required username="{ADMIN}" password="{password}";'
