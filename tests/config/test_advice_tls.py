"""Advice on TLS, in exactly these words."""

import pytest
from config.test_advice import advice_on

COUNTED = (
    "MySQL and MariaDB count each connection without a login as an error, and block this host's address after 100 in a "
    "row (max_connect_errors), also for the application; "
)
UNVERIFIED = "the certificate is not verified, so another server can receive the password: set verifyTLS"


@pytest.mark.parametrize(
    ("check", "advice"),
    [
        (
            "tcpSocket: {port: 587, tls: true}",
            "tcpSocket.port: a server at port 587 starts TLS at the client's request: write startTLS: smtp",
        ),
        (
            "certificate: {port: 389}",
            "certificate.port: a server at port 389 starts TLS at the client's request: write startTLS: ldap",
        ),
        (
            "tcpSocket: {port: 993, startTLS: imap}",
            "tcpSocket.startTLS: at port 993, IMAP starts TLS at once: write tls: true instead",
        ),
        (
            "certificate: {port: 995, startTLS: pop3}",
            "certificate.startTLS: at port 995, POP3 starts TLS at once: remove startTLS",
        ),
        (
            "tcpSocket: {port: 465, expect: '220 '}",
            "tcpSocket.port: at port 465, SMTP starts TLS at once: write tls: true",
        ),
        (
            "httpGet: {port: 80, verifyTLS: true}",
            "httpGet.verifyTLS: has no effect before a redirect to https: write scheme: HTTPS",
        ),
        (
            "httpGet: {port: 80, serverName: shop.example}",
            "httpGet.serverName: has no effect before a redirect to https: write scheme: HTTPS",
        ),
        ("websocket: {port: 443}", "websocket.port: at port 443, servers expect TLS: write scheme: WSS"),
        ("amqp: {port: 5671}", "amqp.port: at port 5671, AMQP starts TLS at once: write tls: true"),
        ("redis: {host: db.example, tls: true, password: {env: PATH}}", f"redis.tls: {UNVERIFIED}"),
        ("mysql: {host: db.example, username: a, tls: true, password: {env: PATH}}", f"mysql.tls: {UNVERIFIED}"),
        (
            "tcpSocket: {host: db.example, port: 3307, startTLS: mysql}",
            f"tcpSocket.startTLS: {COUNTED}use the kind mysql",
        ),
        (
            "certificate: {host: db.example, port: 3306, startTLS: mysql}",
            f"certificate.startTLS: {COUNTED}keep the check at long periods",
        ),
    ],
)
def test_a_probable_mistake_has_exactly_this_advice(tmp_path, check, advice):
    assert advice_on(tmp_path, f"checks:\n- name: a\n  {check}\n") == [f"x.yml:3: checks[0].{advice}"]


@pytest.mark.parametrize(
    "check",
    [
        "tcpSocket: {port: 587, startTLS: smtp}",
        "tcpSocket: {port: 25, expect: '220 '}",
        "tcpSocket: {port: 993}",
        "tcpSocket: {port: 993, tls: true, expect: '* OK'}",
        "certificate: {port: 993}",
        "certificate: {port: 3306, startTLS: mysql}",
        "httpGet: {port: 443, scheme: HTTPS, verifyTLS: true, serverName: shop.example}",
        "redis: {tls: true, password: {env: PATH}}",
        "redis: {host: db.example, tls: true, verifyTLS: true, password: {env: PATH}}",
        "redis: {host: db.example, tls: true}",
    ],
)
def test_a_sensible_check_has_no_advice(tmp_path, check):
    assert advice_on(tmp_path, f"checks:\n- name: a\n  {check}\n") == []
