"""The Authorization header, for the kinds that take `basicAuth` or `bearerToken`."""

from dataclasses import dataclass, field

from exporter.model import Deadline, ProbeError, Reason
from exporter.net.request import encode_basic_authorization, has_control_character
from exporter.probe.secret import BasicAuth, Secret, remember


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of the header, empty if nothing is configured, and the secrets in it, which no message may contain."""

    header: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def read_authorization(basic_auth: BasicAuth | None, bearer_token: Secret | None, deadline: Deadline) -> Authorization:
    """Read the configured secret. Raises ProbeError if it cannot be read or sent."""
    if basic_auth:
        password = basic_auth.password.read(deadline)
        header = encode_basic_authorization(basic_auth.username.encode(), password.encode())
        encoded = header.partition(" ")[2]
        remember(encoded)
        return Authorization(header, (password, encoded))
    if bearer_token:
        token = bearer_token.read(deadline)
        if has_control_character(token):
            raise ProbeError(Reason.ERROR, "the bearer token contains a control character, which no header can hold")
        return Authorization(f"Bearer {token}", (token,))
    return Authorization()


def refuse_both(basic_auth: BasicAuth | None, bearer_token: Secret | None) -> None:
    """Raise ValueError if both are configured: a request has one Authorization header."""
    if basic_auth and bearer_token:
        raise ValueError("takes basicAuth or bearerToken, not both")
