"""Opens addresses past a company's proxy, and says what to set where its network refuses a connection for good."""

from __future__ import annotations

import re
import urllib.request
from http.client import HTTPResponse
from typing import Any, Final
from urllib.parse import urlsplit

DOCUMENT: Final = "docs/company.md"
# The drivers of these ask the proxy of the environment only where this option tells them to.
PROXIED: Final = {
    "http": "client_kwargs",
    "https": "client_kwargs",
    "gs": "session_kwargs",
    "gcs": "session_kwargs",
}
# In the words of OpenSSL, GnuTLS, git, curl, requests and urllib.
_CERTIFICATE = re.compile(
    r"certificate.verif(y|ication) failed|SSL certificate problem|unknown ?issuer", re.IGNORECASE
)
_PROXY = re.compile(r"(failed:|response|code|status=)\s?407|Proxy Authentication Required", re.IGNORECASE)


def explain_refusal(error: object) -> str | None:
    """Say what to set where a network refused, by the words of an error; None where another try may work."""
    words = str(error)
    if _CERTIFICATE.search(words):
        return f"the server's certificate is of an authority that is not known here; {DOCUMENT} names the variables"
    if _PROXY.search(words):
        return f"the proxy wants another name or password: look at HTTPS_PROXY ({DOCUMENT})"
    return None


def is_own(url: str) -> bool:
    """Tell whether an address is one of this machine, which no proxy can reach."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def open_url(request: urllib.request.Request, seconds: float) -> HTTPResponse:
    """Open an address by the proxy that the environment names, but one of this machine directly. Raises as urllib."""
    own = [urllib.request.ProxyHandler({})] if is_own(request.full_url) else []
    answer: HTTPResponse = urllib.request.build_opener(*own).open(request, timeout=seconds)
    return answer


def open_filesystem(address: str) -> tuple[Any, str]:
    """Open any address by fsspec, and the proxy that the environment names. Raises any error of its drivers."""
    import fsspec

    return fsspec.core.url_to_fs(address, **_list_options(address))


def _list_options(address: str) -> dict[str, dict[str, Any]]:
    kinds = {part.partition("://")[0] for part in address.split("::") if "://" in part}
    return {kind: {PROXIED[kind]: {"trust_env": True}} for kind in kinds & PROXIED.keys()}
