"""TLS with a certificate and key from files, which are read again when they change."""

import logging
import ssl
from pathlib import Path

import grpc

log = logging.getLogger(__name__)


class TlsError(Exception):
    """The certificate, its key or the client CA cannot be used. The message names the file's role but not its path."""


class TlsFiles:
    """A server's certificate, key and, for mTLS, the CA of its clients, all in PEM format.

    Changed files may not work, for example while the certificate is new and the key is still old. Then the old
    certificate and key stay in use, and the files are read again at the next connection.

    Args:
        certificate: The server's certificate chain, leaf first.
        key: Private key of the leaf certificate.
        client_ca: Certificates of the authorities that issue client certificates; None to ask clients for none.

    Raises:
        TlsError: A file cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._paths = {"certificate": certificate, "key": key, "client CA": client_ca}
        self._seen = self._signature()
        self._configuration = self._load()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for gRPC. A new connection uses the present files; open connections are not changed."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration, self._changed, require_client_authentication=self._paths["client CA"] is not None
        )

    def context(self) -> ssl.SSLContext:
        """Return a context for Python's `ssl`. A new connection uses the present files here too."""
        seen = self._seen
        current = self._new_context()

        def use_current(connection: ssl.SSLObject | ssl.SSLSocket, *_: object) -> None:
            nonlocal seen, current
            self._changed()
            if self._seen != seen or self._seen is None:
                try:
                    current = self._new_context()
                    seen = self._seen
                except (OSError, ValueError, TlsError) as error:
                    log.warning("keeping the certificate in use: %s", error)
            connection.context = current

        current.sni_callback = use_current
        return current

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key, client_ca = (self._paths[name] for name in ("certificate", "key", "client CA"))
        assert certificate is not None
        context.load_cert_chain(certificate, key, password=_no_password)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context

    def reload(self) -> None:
        """Read the files now, changed or not.

        Raises:
            TlsError: A file cannot be used. The old certificate and key stay in use.
        """
        self._configuration = self._load()
        # With no signature, the next connection reads the files and gives them to gRPC.
        self._seen = None

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration, or None if nothing has changed. gRPC calls this at every connection.

        It must not raise an error.
        """
        signature = self._signature()
        if signature == self._seen:
            return None
        try:
            self._configuration = self._load()
        except TlsError as error:
            log.warning("keeping the certificate in use: %s", error)
            return None
        self._seen = signature
        log.info("certificate and key read again")
        return self._configuration

    def _signature(self) -> tuple[object, ...] | None:
        try:
            stats = [path.stat() for path in self._paths.values() if path is not None]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        content = {name: self._read(name) for name in self._paths}
        certificate, key, client_ca = self._paths["certificate"], self._paths["key"], content["client CA"]
        assert certificate is not None
        try:
            # gRPC accepts any bytes and fails at the first connection. OpenSSL reports an error at once.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as error:
            raise TlsError(f"certificate and key do not fit: {error.reason or 'not PEM'}") from None
        except OSError as error:
            raise TlsError(f"certificate or key cannot be read: {error.strerror}") from None
        if client_ca is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=client_ca.decode("ascii"))
            except (ssl.SSLError, ValueError):
                raise TlsError("the client CA has no certificate in PEM") from None
        return grpc.ssl_server_certificate_configuration([(content["key"], content["certificate"])], client_ca)

    def _read(self, name: str) -> bytes | None:
        path = self._paths[name]
        try:
            return None if path is None else path.read_bytes()
        except OSError as error:
            raise TlsError(f"the {name} cannot be read: {error.strerror}") from None


def _no_password() -> str:
    # Without this function OpenSSL asks for the passphrase on the terminal.
    raise TlsError("the key is encrypted; give one without a passphrase, readable by the server alone")
