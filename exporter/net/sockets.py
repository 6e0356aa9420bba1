"""Sockets that never outlast a deadline.

A timeout of the standard library bounds one operation, so a peer that sends a byte now and then is never timed out.
Here every operation gets the time that is left until one deadline, and every error is a DialError.
"""

import math
import socket
import ssl
from typing import Any

from exporter.model import Deadline, Reason
from exporter.net.certificates import X509, decode, explain
from exporter.net.errors import DialError, describe

_BEGINNING = 100  # bytes


class _Bounded:
    """A mixin for sockets: no operation lasts beyond the deadline, and errors are DialErrors."""

    deadline: Deadline | None = None  # ssl uses the socket before it has one
    detour = ""  # for messages: the addresses that did not accept the connection before this one did
    allowance = math.inf  # bytes that may still be received, for drivers that set no maximum
    beginning = b""  # for messages: the first bytes that were received

    def _call(self, operation: Any, *args: Any, **options: Any) -> Any:
        if self.deadline is None:
            return operation(*args, **options)
        remaining = self.deadline.remaining()
        if remaining > 0:
            self.settimeout(remaining)  # type: ignore[attr-defined]
            try:
                return operation(*args, **options)
            except TimeoutError:
                pass
            except ssl.SSLEOFError:
                raise DialError(Reason.CONNECT, "the server closed the connection") from None
            except ssl.SSLError as error:
                raise DialError(Reason.TLS, describe(error)) from None
            except OSError as error:
                raise DialError(Reason.CONNECT, describe(error)) from None
        raise DialError(Reason.TIMEOUT, f"no complete response in time{self.detour}")

    def _note(self, data: Any, size: int) -> None:
        if not self.beginning:
            self.beginning = bytes(data[: min(size, _BEGINNING)])
        self.allowance -= size
        if self.allowance < 0:
            raise DialError(Reason.STATUS, "the response is too long")

    def recv_into(self, buffer: Any, *args: Any, **options: Any) -> int:
        size: int = self._call(super().recv_into, buffer, *args, **options)  # type: ignore[misc]
        self._note(buffer, size)
        return size

    def recv(self, *args: Any, **options: Any) -> bytes:
        data: bytes = self._call(super().recv, *args, **options)  # type: ignore[misc]
        self._note(data, len(data))
        return data

    def send(self, *args: Any, **options: Any) -> int:
        return self._call(super().send, *args, **options)  # type: ignore[misc,no-any-return]

    def sendall(self, *args: Any, **options: Any) -> None:
        self._call(super().sendall, *args, **options)  # type: ignore[misc]


class Socket(_Bounded, socket.socket):
    """A stream socket with a deadline."""


class TLSSocket(_Bounded, ssl.SSLSocket):
    """A TLS socket with a deadline."""

    _ahead = b""  # received while sending

    def sendall(self, *args: Any, **options: Any) -> None:  # noqa: D102  # documented in ssl
        try:
            super().sendall(*args, **options)
        except DialError as error:
            if error.reason is not Reason.TIMEOUT:
                self._receive_alert()
            raise

    def _receive_alert(self) -> None:
        """Raise a DialError if the server has sent an alert before it closed the connection.

        In TLS 1.3 a server refuses a client's certificate, or that there is none, only after the client's handshake.
        """
        try:
            self._ahead = super().recv(1)
        except DialError as refusal:
            if refusal.reason is Reason.TLS:
                raise refusal from None

    def recv_into(self, buffer: Any, *args: Any, **options: Any) -> int:  # noqa: D102  # documented in ssl
        if not self._ahead:
            return super().recv_into(buffer, *args, **options)
        buffer[:1], self._ahead = self._ahead, b""
        return 1

    def do_handshake(self, *args: Any) -> None:  # noqa: D102  # documented in ssl
        try:
            self._call(self._shake_hands, *args)
        except DialError as error:
            if error.reason is Reason.TIMEOUT:
                raise DialError(Reason.TIMEOUT, f"the TLS handshake did not end in time{self.detour}") from None
            raise

    def _shake_hands(self, *args: Any) -> None:
        try:
            super().do_handshake(*args)
        except ssl.SSLCertVerificationError as error:
            raise DialError(Reason.TLS, explain(error, self.chain)) from None
        except ssl.SSLEOFError:
            message = "the server closed the connection in the TLS handshake; it may speak TLS only after STARTTLS"
            raise DialError(Reason.TLS, message) from None

    @property
    def sent(self) -> tuple[X509, ...]:
        """The certificates that the server has sent, its own first; also after a failed handshake."""
        # From 3.13 on ssl has public methods for both, but they return DER, which only other packages can read.
        return self._decode(self._sslobj.get_unverified_chain())  # type: ignore[attr-defined]

    @property
    def chain(self) -> tuple[X509, ...]:
        """The certificates from the server's own to a trusted one; after a failed handshake, as far as it went."""
        return self._decode(self._sslobj.get_verified_chain())  # type: ignore[attr-defined]

    def _decode(self, certificates: Any) -> tuple[X509, ...]:
        try:
            return decode(certificates)
        except ValueError:
            raise DialError(Reason.TLS, "the server sent a certificate that cannot be read") from None

    def getpeername(self) -> Any:
        """Return the peer's address, or None if the peer has gone.

        ssl calls this before the handshake and leaves the socket open if it raises; with None the handshake fails
        instead, and the socket is closed.
        """
        try:
            return super().getpeername()
        except OSError:
            return None
