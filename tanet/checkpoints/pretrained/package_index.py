"""The package indexes that pip and uv are configured with: which ones, and the address of a file in them.

A package client would run the setup code of a source archive to learn its metadata (`pip download` does). So
tanet only asks the same indexes, mirrors included, for the file's address, and downloads the file itself.
"""

import configparser
import html.parser
import json
import os
import re
import ssl
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from tanet.checkpoints.pretrained.open_url import RequestFailed, open_url

PYPI = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
LONGEST = 2**26  # bytes of an index page


@dataclass(frozen=True)
class PackageIndexes:
    """The indexes that a package client is configured with."""

    urls: tuple[str, ...]
    """Addresses of indexes, the first to be asked first."""
    folders: tuple[Path, ...]
    """Local folders with archives (pip's find-links)."""
    certificates: str
    """File or folder of certificates to trust; "" means those of the system."""

    def context(self) -> ssl.SSLContext | None:
        """Return the certificates to trust."""
        path = Path(self.certificates)
        if not self.certificates or not path.exists():
            return None
        folder = str(path) if path.is_dir() else None
        return ssl.create_default_context(cafile=None if folder else str(path), capath=folder)


def read_indexes() -> PackageIndexes:
    """Return the indexes in pip's and uv's environment variables and files; if there are none, PyPI."""
    pip, uv = _pip_settings(), _uv_settings()
    if no_index := pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        pip = {name: value for name, value in pip.items() if "index" not in name}
    first = [url for url in (pip.get("index-url"), uv.get("default-index"), uv.get("index-url")) if url]
    more = [*uv.get("index", []), *_words(pip.get("extra-index-url")), *_words(uv.get("extra-index-url"))]
    if not first and not no_index:
        first = [PYPI]
    links = [*_words(pip.get("find-links")), *_words(uv.get("find-links"))]
    folders = [Path(link.removeprefix("file://")) for link in links if not link.startswith("http")]
    certificates = pip.get("cert") or os.environ.get("SSL_CERT_FILE", "")
    urls = dict.fromkeys(url.rstrip("/") for url in (*first, *more))
    return PackageIndexes(tuple(urls), tuple(folders), certificates)


def find_in_index(index: str, *, package: str, file: str, context: ssl.SSLContext | None) -> str | None:
    """Return the address of a package's file in an index; None if the index does not have the file.

    Raises:
        RequestFailed: the index cannot be reached.
    """
    url = f"{index}/{package.lower().replace('_', '-').replace('.', '-')}/"
    if index.startswith("file:"):
        url += "index.html"
    try:
        with open_url(url, {"Accept": ACCEPT}, context=context) as response:
            page, kind = response.read(LONGEST), response.headers.get("Content-Type", "")
            url = response.url
    except RequestFailed as error:
        if getattr(error.__cause__, "code", None) in (404, 410) or index.startswith("file:"):
            return None
        raise
    except OSError as error:
        raise RequestFailed("the connection was cut") from error
    links = _json_links(page) if "json" in kind else _html_links(page)
    found = (link for link in links if unquote(urlsplit(link).path.rpartition("/")[2]) == file)
    link = next(found, None)
    return None if link is None else _with_password(urldefrag(urljoin(url, link)).url, index)


def _with_password(url: str, index: str) -> str:
    """Return an address with the user's name and password of the index, if both are on one host."""
    parts, own = urlsplit(url), urlsplit(index)
    same = own.username and (parts.scheme, parts.netloc) == (own.scheme, own.netloc.rpartition("@")[2])
    return parts._replace(netloc=own.netloc).geturl() if same else url


def _json_links(page: bytes) -> Iterator[str]:
    try:
        files = json.loads(page).get("files", [])
    except (ValueError, AttributeError):
        return
    yield from (str(file["url"]) for file in files if isinstance(file, dict) and "url" in file)


def _html_links(page: bytes) -> list[str]:
    links: list[str] = []

    class Links(html.parser.HTMLParser):
        """Parser that collects the targets of links."""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            """Keep the target of a link."""
            links.extend(value for name, value in attrs if tag == "a" and name == "href" and value)

    Links().feed(page.decode(errors="replace"))
    return links


def _words(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else (value or "").split()


def _pip_settings() -> dict[str, str]:
    """Return pip's settings by name: those of the environment, then of the files."""
    settings: dict[str, str] = {}
    for path in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "download", "install"):
            if parser.has_section(section):
                settings |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    prefix = "PIP_"
    own = {name.removeprefix(prefix): v for name, v in os.environ.items() if name.startswith(prefix)}
    return settings | {name.lower().replace("_", "-"): value for name, value in own.items() if value}


def _pip_files() -> list[Path]:
    """Return the files that may hold pip's settings; a later file takes precedence."""
    own = os.environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return []
    home = Path.home()
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    if sys.platform == "win32":
        above = [Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip", home / "pip"]
        above.append(Path(os.environ.get("APPDATA", home)) / "pip")
    else:
        shared = os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)
        above = [Path("/etc"), *(Path(folder) / "pip" for folder in reversed(shared)), home / ".pip"]
        if sys.platform == "darwin":
            above.append(home / "Library" / "Application Support" / "pip")
        above.append(Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip")
    files = [folder / name for folder in (*above, Path(sys.prefix))]
    return [*files, Path(own)] if own else files


def _uv_settings() -> dict[str, Any]:
    """Return uv's settings by name: those of the environment, then of the files."""
    settings: dict[str, Any] = {}
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for path in (Path("/etc/uv/uv.toml"), home / "uv" / "uv.toml"):
        try:
            content = tomllib.loads(path.read_text())
        except (OSError, ValueError):
            continue
        settings |= {name: content[name] for name in ("index-url", "extra-index-url") if name in content}
        tables = [table for table in content.get("index", []) if isinstance(table, dict) and "url" in table]
        settings["index"] = [table["url"] for table in tables if not table.get("default")]
        if default := [table["url"] for table in tables if table.get("default")]:
            settings["default-index"] = default[0]
    for name in ("default-index", "index-url", "extra-index-url", "find-links"):
        if value := os.environ.get(f"UV_{name.upper().replace('-', '_')}"):
            settings[name] = value
    if value := os.environ.get("UV_INDEX"):
        settings["index"] = [re.sub(r"^[\w.-]+=", "", word) for word in value.split()]  # NAME=URL or URL
    return settings
