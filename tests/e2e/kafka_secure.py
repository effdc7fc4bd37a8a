"""A Kafka broker that asks for logins and certificates."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka.admin import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from certificates import Authority
from kafka_server import ANSWER, KafkaServer
from ports import free_port

# A listener for each way in, by name; "wrong" shows a certificate of another machine, "mutual" wants
# one of the client. The plain listener, for the tests' own client, lets everybody do everything.
WAYS = {
    "login": "SASL_PLAINTEXT",
    "secure": "SASL_SSL",
    "tls": "SSL",
    "mutual": "SSL",
    "wrong": "SSL",
}

# `bridge` may do what its rights say, `free` everything.
USERS = {"bridge": "secret", "free": "freely"}

SETTINGS = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},{listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{protocols}
ssl.keystore.type=PEM
ssl.keystore.location={right}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.wrong.ssl.keystore.type=PEM
listener.name.wrong.ssl.keystore.location={wrong}
listener.name.mutual.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:free;User:CN=client
allow.everyone.if.no.acl.found=false
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
"""
PLAIN = """
listener.name.{way}.plain.sasl.jaas.config=\\
 org.apache.kafka.common.security.plain.PlainLoginModule required {users};
listener.name.{way}.scram-sha-256.sasl.jaas.config=\\
 org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.{way}.scram-sha-512.sasl.jaas.config=\\
 org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class SecureKafka(KafkaServer):
    """`ways` has the address of each way in; `authority` signed the certificates."""

    def __init__(self, version: str = "") -> None:
        super().__init__(version)
        folder = Path(self.folder)
        self.authority = Authority(folder, "authority")
        self.stranger = Authority(folder, "stranger")
        self.ways = {way: f"127.0.0.1:{free_port()}" for way in WAYS}
        text = SETTINGS.format(
            port=self.port,
            controller=self.port + 1,
            listeners=",".join(f"{way.upper()}://{at}" for way, at in self.ways.items()),
            protocols=",".join(f"{way.upper()}:{kind}" for way, kind in WAYS.items()),
            ca=self.authority.ca,
            right=self.authority.store("localhost", "DNS:localhost,IP:127.0.0.1"),
            wrong=self.authority.store("elsewhere", "DNS:elsewhere.example"),
        )
        users = " ".join(f'user_{user}="{password}"' for user, password in USERS.items())
        for way, kind in WAYS.items():
            if "SASL" in kind:
                text += PLAIN.format(way=way, users=users)
        self.configure(text)

    def start(self) -> None:
        super().start()
        changes = [
            UserScramCredentialUpsertion(
                user, ScramCredentialInfo(mechanism, 4096), password.encode()
            )
            for user, password in USERS.items()
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        ]
        # One mechanism of a user at a time.
        for change in changes:
            for done in self.admin.alter_user_scram_credentials([change]).values():
                done.result(ANSWER)
