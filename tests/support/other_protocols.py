"""First messages of protocols other than libvirt's, from their specifications."""

from __future__ import annotations

from typing import Final

from .frames import text, word

#: Protocol → the first bytes of a connection, from the side that begins.
FIRST_BYTES: Final = {
    "HTTP": b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("0000120400000000000003000000640004"),
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + bytes(0xC8 - 38),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    "SMTP": b"220 mail.example.com ESMTP Postfix\r\n",
    "IMAP": b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.\r\n",
    "FTP": b"220 ProFTPD Server (Debian) [::ffff:192.0.2.1]\r\n",
    "DNS": bytes.fromhex("001e1a2b01000001000000000000037777770765786d61706c6503636f6d0000010001"),
    "LDAP": bytes.fromhex("300c020101600702010304008000") * 3,
    "MySQL": b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00" + b"abcdefgh\x00" + bytes(48),
    "PostgreSQL": word(40) + word(196608) + b"user\0postgres\0database\0postgres\0\0",
    "Redis": b"*3\r\n$3\r\nSET\r\n$5\r\nmykey\r\n$7\r\nmyvalue\r\n",
    "MQTT": b"\x10\x1e\x00\x04MQTT\x04\x02\x00\x3c\x00\x12libvirt-sensor-001",
    "AMQP": b"AMQP\x00\x00\x09\x01" + bytes.fromhex("01000000000196000a000a0009") + bytes(32),
    "VNC": b"RFB 003.008\n" + bytes(24),
    "SPICE": b"REDQ" + bytes.fromhex("0200000002000000120000000000000001000000010000001200000009000000"),
    "QMP": b'{"QMP": {"version": {"qemu": {"micro": 2, "minor": 2, "major": 7}}, "capabilities": []}}\r\n',
    "NBD": b"NBDMAGICIHAVEOPT" + bytes.fromhex("0003") + bytes(20),
    "iSCSI": bytes.fromhex("4387000000000040") + bytes(40) + b"InitiatorName=iqn.1993-08.org.debian:01:1\0",
    "SMB2": bytes.fromhex("000000aefe534d4240000100000000000000210010000000") + bytes(40),
    # A record mark, a call, version 2 of RPC, mount: the most similar protocol.
    "ONC RPC": word(0x80000028) + word(7) + word(0) + word(2) + word(100005) + word(3) + word(0) + bytes(16),
    "ONC RPC reply": word(0x80000018) + word(7) + word(1) + bytes(16) + text(b"/export"),
    "DCE/RPC": bytes.fromhex("05000b03100000004800000001000000b810b8100000000001000000000001000883afe1"),
    "Kerberos": word(140) + bytes.fromhex("6a8189308186a103020105a20302010aa37a3078") + bytes(120),
    "BGP": b"\xff" * 16 + bytes.fromhex("001d0104fde800b4c0000201000000") + bytes(14),
    "X11": bytes.fromhex("6c000b00000012001000") + b"\0\0MIT-MAGIC-COOKIE-1" + bytes(18),
    "ZooKeeper": word(45) + bytes(12) + word(30000) + bytes(8) + word(16) + bytes(17),
    "Kafka": word(35) + b"\0\x12\0\3" + word(1) + b"\0\x0cconsumer-1-1\0\x12apache-kafka-java",
    "Migration": b"QEVM" + word(3) + b"\x07" + word(16) + b"pc-i440fx-bookwo" + bytes(16),
    "zeros": bytes(64),
}
