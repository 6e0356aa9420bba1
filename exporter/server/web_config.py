"""The web configuration in use: the users and the TLS context, read again when the files change."""

import logging
import marshal
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.web import WebConfig
from exporter.host.reader import read_signature
from exporter.server.reload import KEEPING
from exporter.server.tls import Rotation
from exporter.tls import describe_file_error

_log = logging.getLogger(__name__)

WITHOUT = "only the probe listeners respond until it is valid"
"""What follows from a failed load, with and without a configuration in effect."""
_NO_TLS = "TLS cannot be turned off while the exporter runs; restart it"
_NEW_TLS = "TLS cannot be turned on while the exporter runs; restart it"
_NO_USERS = "authentication cannot be turned off while the exporter runs; restart it"


class WebConfigFile:
    """The file of `--web.config.file`. If a change is invalid, it is logged, and the previous configuration stays.

    Without a file there are neither users nor TLS.
    """

    def __init__(
        self,
        path: Path | None = None,
        kept: bytes = b"",
        keep: Callable[[bytes], object] = lambda _: None,
        *,
        required: bool = True,
    ) -> None:
        """`keep` is called with what is in use, at the start and whenever it has changed.

        `kept` is what an earlier process has kept, or empty. It is used if the files are invalid now. Without it, this
        raises ConfigError or OSError if the configuration is `required`; otherwise it is loaded once it is valid.
        """
        self._path = path
        self._keep = keep
        self._errors = ""
        self._errors_time: float | None = None
        self._loaded: object = None
        self._latest = self._read_signature()
        self._config: WebConfig | None = None
        self._rotation: Rotation | None = None
        try:
            self._begin(WebConfig.read(path) if path else WebConfig())
        except (ConfigError, OSError) as error:
            if required and not kept:
                raise
            if kept:
                fields, contents = marshal.loads(kept)  # noqa: S302  # of a process with the same interpreter and code
                self._begin(WebConfig.model_validate(fields), contents)
            self._report(error)
        else:
            self._loaded = self._latest
            self._keep_current()

    @property
    def loaded(self) -> bool:
        """Whether there is a configuration. Without one, nobody may be served: neither TLS nor the users are known."""
        return self._config is not None

    @property
    def ok(self) -> bool:
        """Whether the files, as they are now, are in use."""
        return not self._errors and (self._rotation is None or self._rotation.ok)

    @property
    def complaint(self) -> str | None:
        """Why the files are not in use as they are now, or None."""
        return self._errors or (self._rotation.error if self._rotation else "") or None

    @property
    def complaint_time(self) -> float | None:
        """When that was first noticed."""
        if self._errors:
            return self._errors_time
        return self._rotation.error_time if self._rotation and self._rotation.error else None

    @property
    def users(self) -> Mapping[str, str]:
        """The bcrypt hash of each user; empty if requests need no credentials."""
        assert self._config is not None  # otherwise everybody would be let in
        return self._config.basic_auth_users

    @property
    def context(self) -> ssl.SSLContext | None:
        """The TLS context for the listeners, or None. It stays the same object when the files change."""
        return self._rotation.context if self._rotation else None

    def poll(self) -> None:
        """Use changed files: the configuration if it has stayed the same since the last poll, certificates at once."""
        signature = self._read_signature()
        config, contents = self._config, self._contents
        if self._path and signature != self._loaded and signature == self._latest:
            self._load(self._path, signature)
        elif self._rotation:
            self._rotation.poll()
        if signature == self._loaded:
            self._errors = ""
        self._latest = signature
        if config is not self._config or contents is not self._contents:
            self._keep_current()

    def _load(self, path: Path, signature: object) -> None:
        """Use the file, or log its errors once. It is tried again at each poll, because it refers to other files."""
        try:
            self._replace(path, WebConfig.read(path))
        except (ConfigError, OSError) as error:
            self._report(error)
        else:
            self._loaded, self._errors = signature, ""
            _log.info("web configuration loaded", extra={"fields": {"users": len(self.users)}})

    def _report(self, error: Exception) -> None:
        """Log the errors, unless they are the latest ones."""
        text = describe_file_error(error)
        if text != self._errors:
            self._errors_time = time.time()
            message = f"web configuration not loaded; {KEEPING if self._config else WITHOUT}"
            for complaint in text.splitlines():
                _log.error(message, extra={"fields": {"error": complaint}})
        self._errors = text

    def _begin(self, config: WebConfig, contents: dict[str, bytes] | None = None) -> None:
        """Use the first configuration. Raises OSError, and changes nothing, if its files cannot be used."""
        tls = config.tls_server_config
        self._rotation = Rotation(tls, contents) if tls else None
        self._config = config

    @property
    def _contents(self) -> dict[str, bytes] | None:
        return self._rotation.contents if self._rotation else None

    def _keep_current(self) -> None:
        if self._config is not None:
            self._keep(marshal.dumps((self._config.model_dump(mode="json"), self._contents)))

    def _replace(self, path: Path, config: WebConfig) -> None:
        """Use this configuration. Raises ConfigError or OSError, and changes nothing, if that is not possible.

        A file without users must not open the exporter to everybody: it may be one that is just being written.
        """
        if self._config is None:
            self._begin(config)
            return
        tls = config.tls_server_config
        complaints = []
        if bool(tls) != bool(self._rotation):
            complaints.append(Complaint(str(path), None, ("tls_server_config",), _NEW_TLS if tls else _NO_TLS))
        if self.users and not config.basic_auth_users:
            complaints.append(Complaint(str(path), None, ("basic_auth_users",), _NO_USERS))
        if complaints:
            raise ConfigError(complaints)
        if tls and self._rotation:
            self._rotation.replace(tls)
        self._config = config

    def _read_signature(self) -> object:
        return read_signature(self._path) if self._path else None
