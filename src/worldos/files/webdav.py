"""The account's files as a WebDAV folder: what Finder, Explorer, Nautilus, rclone and most other programs can open.

``FolderServer`` listens on the loopback address and asks every request for a password, those of this machine as well.
A file that is sent appears when its last byte is kept, or not at all: a sender that goes away in the middle leaves what was
there before. Locks and properties that programs set are held in memory, for as long as the folder is served. Symbolic links
are left out: WebDAV has none. Source: RFC 4918 (WebDAV), RFC 4331 (quota).
"""

from __future__ import annotations

import hmac
import logging
import mimetypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from cheroot import wsgi
from wsgidav.dav_error import (
    HTTP_BAD_REQUEST,
    HTTP_CONFLICT,
    HTTP_FORBIDDEN,
    HTTP_INSUFFICIENT_STORAGE,
    HTTP_INTERNAL_ERROR,
    HTTP_NOT_FOUND,
    HTTP_SERVICE_UNAVAILABLE,
    DAVError,
)
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider
from wsgidav.dc.base_dc import BaseDomainController
from wsgidav.dir_browser import WsgiDavDirBrowser
from wsgidav.error_printer import ErrorPrinter
from wsgidav.http_authenticator import HTTPAuthenticator
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from worldos.errors import (
    BadRequest,
    Damaged,
    DiskFull,
    NoCapacity,
    NotAllowed,
    NotThere,
    OverQuota,
    Unreachable,
    WorldError,
)
from worldos.files.about import About
from worldos.files.files import Files
from worldos.files.permit import Permit
from worldos.model.rights import Op

USER = "wos"
REALM = "World OS"
LOOPBACK = "127.0.0.1"
THREADS = 16
WAITING_MAX = 128
IDLE_TIMEOUT_S = 60
PIECE_BYTES = 1 << 20
ROOM_AGE_S = 30.0
SECOND_NS = 1_000_000_000
PLAIN_MEDIA = "application/octet-stream"
STATUS_OF: tuple[tuple[type[WorldError], int], ...] = (
    (NotThere, HTTP_NOT_FOUND),
    (BadRequest, HTTP_BAD_REQUEST),
    (OverQuota, HTTP_INSUFFICIENT_STORAGE),
    (NoCapacity, HTTP_INSUFFICIENT_STORAGE),
    (DiskFull, HTTP_INSUFFICIENT_STORAGE),
    (NotAllowed, HTTP_FORBIDDEN),
    (Unreachable, HTTP_SERVICE_UNAVAILABLE),
    (Damaged, HTTP_INTERNAL_ERROR),
)


@contextmanager
def _told() -> Iterator[None]:
    """Say a failure in the words of HTTP."""
    try:
        yield
    except WorldError as error:
        status = next((status for kind, status in STATUS_OF if isinstance(error, kind)), HTTP_INTERNAL_ERROR)
        raise DAVError(status, context_info=str(error)) from error


def _name(path: str) -> str:
    """Return the name that a path of a request stands for: clients put slashes at its end, and twice in its middle."""
    return "/".join(part for part in path.split("/") if part)


class FilesProvider(DAVProvider):  # type: ignore[misc]  # wsgidav has no types
    """Finds what a path of a request names."""

    def __init__(self, files: Files, *, read_only: bool = False, permit: Permit | None = None) -> None:
        super().__init__()
        self.files = files
        self.read_only = read_only
        self.permit = permit
        self._room: tuple[int, int] = (0, 0)
        self._room_at = -ROOM_AGE_S

    def is_readonly(self) -> bool:
        """Tell wsgidav whether anything may be changed."""
        return self.read_only

    def get_resource_inst(self, path: str | None, environ: dict[str, Any]) -> Folder | File | None:
        """Return what is there, or None; nothing is above the folder that is served."""
        if path is None:
            return None
        name = _name(path)
        if not self.shows(name):
            return None  # what may not be seen is not there
        if not name:
            return Folder(path, environ, About(name="", folder=True))
        try:
            about = self.files.stat(name)
        except BadRequest:
            return None  # a name that cannot be has nothing behind it
        except WorldError:
            with _told():
                raise
        return self.resource(about, environ)

    def resource(self, about: About, environ: dict[str, Any]) -> Folder | File | None:
        """Return what a directory entry is as WebDAV knows it."""
        if about.target:
            return None
        return (Folder if about.folder else File)(f"/{about.name}", environ, about)

    def shows(self, name: str) -> bool:
        """Tell whether this may be seen: it may be read, or what may be read lies below it."""
        return self.permit is None or self.permit.leads_to(name) or not self.permit.refusal(Op.READ, name)

    def reading(self, name: str) -> Files:
        """Return the files, to read this."""
        self._ask(Op.READ, name)
        return self.files

    def changing(self, *names: str) -> Files:
        """Return the files, to change these in them."""
        if self.read_only:
            raise DAVError(HTTP_FORBIDDEN, context_info="this folder is served read-only")
        for name in names:
            self._ask(Op.WRITE, name)
        return self.files

    def _ask(self, op: Op, name: str) -> None:
        why = self.permit.refusal(op, name) if self.permit is not None else ""
        if why:
            raise DAVError(HTTP_FORBIDDEN, context_info=why)

    def room(self) -> tuple[int, int]:
        """Return how many bytes are used, and how many more can be kept with the code that new files get."""
        if time.monotonic() - self._room_at > ROOM_AGE_S:
            with _told():
                status = self.files.storage()
            free_bytes = sum(store.free_bytes for store in status.stores)
            self._room = (status.plain_bytes, free_bytes * status.k // max(status.n, 1))
            self._room_at = time.monotonic()
        return self._room


class _Entry:
    """What files and folders have in common; the other half of each is a class of wsgidav."""

    provider: FilesProvider
    about: About
    environ: dict[str, Any]

    @property
    def wos_name(self) -> str:
        """Return the name by which ``Files`` knows it."""
        return self.about.name

    def get_last_modified(self) -> int | None:
        """Return when it was written, in seconds."""
        return self.about.modified_ns // SECOND_NS or None

    def get_creation_date(self) -> int | None:
        """Return the same: a version is never changed."""
        return self.get_last_modified()

    def delete(self) -> None:
        """Remove it with all that is below, and what was noted about it."""
        if not self.wos_name:
            raise DAVError(HTTP_FORBIDDEN, context_info="the folder that is served stays")
        with _told():
            self.provider.changing(self.wos_name).remove(self.wos_name, recursive=self.about.folder)
        this = cast("Any", self)
        this.remove_all_properties(recursive=True)
        this.remove_all_locks(recursive=True)

    def support_recursive_move(self, dest_path: str) -> bool:
        """Tell wsgidav that a move is one act."""
        del dest_path
        return True

    def move_recursive(self, dest_path: str) -> None:
        """Give it another name, with all that is below."""
        with _told():
            self.provider.changing(self.wos_name, _name(dest_path)).move(self.wos_name, _name(dest_path))
        self._carry_properties(dest_path, move=True)

    def _carry_properties(self, dest_path: str, *, move: bool) -> None:
        """Let what programs noted about it be known of the other name."""
        notes = self.provider.prop_manager
        reached = cast("Any", self.provider.get_resource_inst(dest_path, self.environ))
        if not notes or reached is None:
            return
        here, there = cast("Any", self).get_ref_url(), reached.get_ref_url()
        if move:
            notes.move_properties(here, there, with_children=True, environ=self.environ)
        else:
            notes.copy_properties(here, there, self.environ)


class File(_Entry, DAVNonCollection):  # type: ignore[misc]
    """A file, or one that is being sent and is not there yet."""

    def __init__(self, path: str, environ: dict[str, Any], about: About) -> None:
        DAVNonCollection.__init__(self, path, environ)
        self.about = about
        self._upload: Upload | None = None

    def get_content_length(self) -> int:
        """Return its size in bytes."""
        return self.about.size_bytes

    def get_content_type(self) -> str:
        """Return its media type, guessed from its name where nobody said it."""
        return self.about.media or mimetypes.guess_type(self.about.name)[0] or PLAIN_MEDIA

    def get_etag(self) -> str | None:
        """Return what tells its contents from all others."""
        return self.about.digest.hex() or None

    def support_etag(self) -> bool:
        """Tell wsgidav so."""
        return True

    def support_ranges(self) -> bool:
        """Tell wsgidav that a part can be read alone."""
        return True

    def get_content(self) -> BinaryIO:
        """Open it for reading."""
        with _told():
            return self.provider.reading(self.wos_name).reader(self.wos_name)

    def begin_write(self, *, content_type: str | None = None) -> Upload:
        """Take in new contents."""
        del content_type  # browsers and file managers guess; so do we, from the name, when it is read
        length = self.environ.get("CONTENT_LENGTH")
        with _told():
            writer = self.provider.changing(self.wos_name).writer(self.wos_name)
        self._upload = Upload(writer, int(length) if length else None)
        return self._upload

    def end_write(self, *, with_errors: bool) -> None:
        """Know what was kept, or throw away what came of it."""
        if self._upload is not None and with_errors:
            self._upload.discard()
        elif self._upload is not None:
            with _told():
                self.about = self.provider.files.stat(self.wos_name)

    def copy_move_single(self, dest_path: str, *, is_move: bool) -> None:
        """Give its contents a second name."""
        with _told():
            self.provider.reading(self.wos_name)
            self.provider.changing(_name(dest_path)).copy(self.wos_name, _name(dest_path))
        self._carry_properties(dest_path, move=is_move)


class Upload:
    """New contents of a file on their way in. Fewer bytes than were announced are none."""

    def __init__(self, writer: Any, length: int | None) -> None:
        self._writer = writer
        self._length = length
        self._written = 0

    def write(self, data: bytes) -> None:
        """Take in some bytes."""
        with _told():
            self._writer.write(data)
        self._written += len(data)

    def close(self) -> None:
        """Keep it, if it is whole."""
        if self._length is not None and self._written != self._length:
            self.discard()
            raise DAVError(HTTP_BAD_REQUEST, context_info=f"{self._written} of {self._length} bytes came")
        with _told():
            self._writer.close()

    def discard(self) -> None:
        """Throw it away."""
        self._writer.discard()


class Folder(_Entry, DAVCollection):  # type: ignore[misc]
    """A folder; the one that is served has the empty name."""

    def __init__(self, path: str, environ: dict[str, Any], about: About) -> None:
        DAVCollection.__init__(self, path, environ)
        self.about = about

    def get_etag(self) -> None:
        """Return nothing: folders have no contents of their own."""

    def support_etag(self) -> bool:
        """Tell wsgidav so."""
        return False

    def get_used_bytes(self) -> int | None:
        """Return how much is kept; asked of the folder that is served."""
        return None if self.wos_name else self.provider.room()[0]

    def get_available_bytes(self) -> int | None:
        """Return how much more can be kept; asked of the folder that is served."""
        return None if self.wos_name else self.provider.room()[1]

    def get_member_names(self) -> list[str]:
        """Return the names in it."""
        return [member.name for member in self.get_member_list()]

    def get_member_list(self) -> list[Folder | File]:
        """Return what is in it."""
        with _told():
            members = self.provider.files.list(self.wos_name)
        found = (self.provider.resource(member, self.environ) for member in members if self.provider.shows(member.name))
        return [member for member in found if member is not None]

    def get_member(self, name: str) -> Folder | File | None:
        """Return one thing in it."""
        return self.provider.get_resource_inst(f"/{self._below(name)}", self.environ)

    def create_empty_resource(self, name: str) -> File:
        """Make room for a file that is being sent, or, for a lock, an empty one."""
        about = About(name=self._below(name), modified_ns=time.time_ns())
        if self.environ["REQUEST_METHOD"] != "PUT":
            with _told():
                about = self.provider.changing(about.name).put(b"", about.name)
        return File(f"/{about.name}", self.environ, about)

    def create_collection(self, name: str) -> None:
        """Make a folder in it."""
        with _told():
            self.provider.changing(self._below(name)).make_folder(self._below(name), parents=False)

    def support_recursive_delete(self) -> bool:
        """Tell wsgidav that a folder goes in one act."""
        return True

    def handle_copy(self, dest_path: str, *, depth_infinity: bool) -> bool:
        """Copy a folder with all that is below in one act, where nothing has the other name."""
        self.provider.reading(self.wos_name)
        files = self.provider.changing(_name(dest_path))
        with _told():
            if not depth_infinity or files.exists(_name(dest_path)):
                return False
            files.copy(self.wos_name, _name(dest_path))
        self._carry_properties(dest_path, move=False)
        return True

    def copy_move_single(self, dest_path: str, *, is_move: bool) -> None:
        """Make the same folder, empty, under another name."""
        name = _name(dest_path)
        with _told():
            files = self.provider.changing(name)
            if not files.exists(name):
                files.make_folder(name, parents=False)
            elif not files.stat(name).folder:
                raise DAVError(HTTP_CONFLICT, context_info=f"{name} is a file")
        self._carry_properties(dest_path, move=is_move)

    def _below(self, name: str) -> str:
        return f"{self.wos_name}/{name}" if self.wos_name else name


class Doorkeeper(BaseDomainController):  # type: ignore[misc]
    """Lets in who knows the one password: to the folder, and to the pages that show it in a browser."""

    def __init__(self, app: Any, configuration: dict[str, Any]) -> None:
        super().__init__(app, configuration)
        self._password: str = configuration["worldos.password"]

    def get_domain_realm(self, path_info: str, environ: dict[str, Any] | None) -> str:
        """Return what a password is asked for: one thing, wherever it is asked."""
        del path_info, environ
        return REALM

    def require_authentication(self, realm: str, environ: dict[str, Any] | None) -> bool:
        """Ask always."""
        del realm, environ
        return True

    def basic_auth_user(self, realm: str, user_name: str, password: str, environ: dict[str, Any]) -> bool:
        """Tell whether this is the user and the password."""
        del realm, environ
        return user_name == USER and hmac.compare_digest(password.encode(), self._password.encode())

    def supports_http_digest_auth(self) -> bool:
        """Tell wsgidav so."""
        return True

    def digest_auth_user(self, realm: str, user_name: str, environ: dict[str, Any]) -> str | bool:
        """Return what a digest is made of."""
        del environ
        return user_name == USER and str(self._compute_http_digest_a1(realm, user_name, self._password))


class _Server(wsgi.Server):
    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:  # noqa: FBT001, FBT002 - cheroot's
        """Keep cheroot's log out of the terminal: what goes wrong is in the answer to the request."""
        del msg, level, traceback


class FolderServer:
    """Serves the files until it is stopped. ``port`` 0 takes any that is free."""

    def __init__(
        self,
        files: Files,
        password: str,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        read_only: bool = False,
        permit: Permit | None = None,
    ) -> None:
        logging.getLogger("wsgidav").addHandler(logging.NullHandler())
        logging.getLogger("wsgidav").propagate = False
        self._server = _Server(
            (host, port),
            WsgiDAVApp(_configuration(FilesProvider(files, read_only=read_only, permit=permit), password)),
            numthreads=THREADS,
            request_queue_size=WAITING_MAX,
            timeout=IDLE_TIMEOUT_S,
            shutdown_timeout=1,
        )
        try:
            self._server.prepare()
        except OSError as cause:
            hint = "choose another, or none: --port 0 takes one that is free"
            raise NotAllowed(f"port {port} cannot be taken", hint=hint) from cause
        self._password = password

    @property
    def address(self) -> str:
        """Return host:port."""
        host, port = self._server.bind_addr[:2]
        return f"{host}:{port}"

    @property
    def url(self) -> str:
        """Return where the folder is, without the password."""
        return f"http://{self.address}/"

    @property
    def url_with_password(self) -> str:
        """Return where the folder is, and how to get in: a secret."""
        return f"http://{USER}:{quote(self._password)}@{self.address}/"

    def serve(self) -> None:
        """Serve until ``stop`` is called in another thread, or Ctrl-C."""
        self._server.serve()

    def stop(self) -> None:
        """End it."""
        self._server.stop()


def _configuration(provider: FilesProvider, password: str) -> dict[str, Any]:
    return {
        "provider_mapping": {"/": provider},
        "http_authenticator": {
            "domain_controller": Doorkeeper,
            "accept_basic": True,  # rclone, curl, davfs2
            "accept_digest": True,
            "default_to_digest": True,  # Explorer sends no password in clear over http
        },
        "worldos.password": password,
        "middleware_stack": [ErrorPrinter, HTTPAuthenticator, WsgiDavDirBrowser, RequestResolver],
        "property_manager": True,
        "lock_storage": True,
        "block_size": PIECE_BYTES,
        "verbose": 0,
        "suppress_version_info": True,
        "dir_browser": {
            "enable": True,
            "response_trailer": False,
            "show_user": False,
            "davmount": False,
            "ms_sharepoint_support": False,
            "libre_office_support": False,
        },
    }
