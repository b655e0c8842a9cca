"""Requests for the download of weights: proxies, certificates, passwords, errors in a few words."""

import base64
import http.client
import netrc
import os
import ssl
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

from tanet.runtime.files import versions

TRIES = 4
"""Attempts in a row that bring no byte."""
PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""
TIMEOUT = 20.0
"""Seconds without an answer or a byte."""
OFFLINE = ("TANET_OFFLINE", "HF_HUB_OFFLINE")
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
CAUSES = {
    401: "access is refused",
    403: "access is refused",
    404: "there is no such file",
    410: "the file is gone",
}


class RequestFailed(Exception):
    """A request failed. The message is the cause, in a few words."""

    def __init__(self, cause: str, *, transient: bool = True) -> None:
        super().__init__(cause)
        self.transient = transient
        """Whether another attempt can succeed."""


def offline_variable() -> str:
    """Return the name of the environment variable that forbids requests; "" if none does."""
    yes = ("1", "true", "yes", "on")
    return next((name for name in OFFLINE if os.environ.get(name, "").strip().lower() in yes), "")


def without_password(url: str) -> str:
    """Return an address without a user's name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def open_url(
    url: str, headers: dict[str, str] | None = None, *, context: ssl.SSLContext | None = None
) -> Any:
    """Open an address, through the proxies that the environment names.

    Raises:
        RequestFailed: there is no access, or the server answers with an error.
    """
    own = {"User-Agent": f"tanet/{versions()['tanet']}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(without_password(url), headers={**own, **(headers or {})})
    if login := _login(url):
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT, context=context)
    except (OSError, http.client.HTTPException) as error:
        raise request_failed(error) from error


def _login(url: str) -> str:
    """Return the user's name and password for a server, from the address or the file .netrc; "" if none."""
    parts = urlsplit(url)
    if parts.username:
        return f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    try:
        found = netrc.netrc().authenticators(parts.hostname or "")
    except (OSError, netrc.NetrcParseError):
        return ""
    return f"{found[0]}:{found[2]}" if found and parts.scheme == "https" else ""


def try_again(error: RequestFailed, failures: int) -> None:
    """Wait before the next attempt, or raise the error if no attempt is left.

    Args:
        error: error of the last attempt.
        failures: number of attempts in a row that have failed.
    """
    if failures >= TRIES or not error.transient:
        raise error
    time.sleep(PAUSE * 2 ** (failures - 1))


def request_failed(error: BaseException) -> RequestFailed:
    """Say in a few words why a request failed, and whether another attempt can succeed."""
    if isinstance(error, urllib.error.HTTPError):
        cause = CAUSES.get(error.code, " ".join(str(error.reason).split()))
        return RequestFailed(f"HTTP {error.code}: {cause}", transient=error.code in TRANSIENT)
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return request_failed(error.reason)
    if isinstance(error, TimeoutError):
        return RequestFailed(f"no answer for {TIMEOUT:.0f} s")
    if isinstance(error, ConnectionRefusedError):
        return RequestFailed("the connection is refused")
    if isinstance(error, ConnectionError | http.client.HTTPException):
        return RequestFailed("the connection was cut")
    cause = " ".join(str(getattr(error, "strerror", None) or error).split())
    lasting = isinstance(error, urllib.error.URLError | ssl.SSLCertVerificationError)
    return RequestFailed(cause or type(error).__name__, transient=not lasting)
