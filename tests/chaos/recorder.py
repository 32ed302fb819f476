"""What SQLite writes and syncs, in the order in which it does: a shim around the VFS of the very library in use.

Nothing is replaced but three methods of each file that is opened; they note what they are told, and pass it on. So the
driver, the library and the file system are those that everybody has, and the notes are what a disk would have seen.
`Recorder.install()` needs a library that `sqlite3` shares with others (`Unshared` says that it does not).
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, cast
from pathlib import Path
from typing import Any, NamedTuple

OK = 0


class Unshared(Exception):
    """Python's own SQLite cannot be reached from outside."""


class Event(NamedTuple):
    """One call."""

    kind: str
    """`write`, `truncate`, `sync`, `delete`; or whatever the one that records wants to remember at this point."""
    name: str
    """Of the file."""
    offset: int = 0
    data: bytes = b""


class _Methods(Structure):
    """struct sqlite3_io_methods, its first version; later ones are longer, and copied as they are."""

    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        *((name, c_void_p) for name in ("size", "lock", "unlock", "reserved", "control", "sector", "traits")),
        *((name, c_void_p) for name in ("map", "shm_lock", "shm_barrier", "unmap", "fetch", "unfetch")),
    )


class _File(Structure):
    _fields_ = (("methods", POINTER(_Methods)),)


class _Vfs(Structure):
    """struct sqlite3_vfs."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        *((name, c_void_p) for name in ("access", "full", "dlopen", "dlerror", "dlsym", "dlclose", "random", "sleep")),
        *((name, c_void_p) for name in ("time", "error", "time64", "set_call", "get_call", "next_call")),
    )


_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)


class Recorder:
    """All that is written by connections opened after `install`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._names: dict[int, str] = {}
        self._wrapped: dict[int, _Methods] = {}
        self._kept: list[Any] = []

    def install(self) -> None:
        """From now on every new connection of this process is recorded."""
        library = _library()
        find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
        find.restype, find.argtypes = POINTER(_Vfs), (c_char_p,)
        register.argtypes = (POINTER(_Vfs), c_int)
        plain = find(None).contents
        shim = _Vfs()
        ctypes.pointer(shim)[0] = plain
        shim.name, shim.next = b"recorder", None
        self._open, self._delete = _Open(plain.open), _Delete(plain.delete)
        opening, deleting = _Open(self._on_open), _Delete(self._on_delete)
        shim.open, shim.delete = cast(opening, c_void_p), cast(deleting, c_void_p)
        self._kept += [library, shim, opening, deleting]
        if register(ctypes.byref(shim), 1) != OK:
            raise Unshared("SQLite takes no further VFS")

    def note(self, kind: str, name: str) -> None:
        """Remember that something else happened, after all that was written so far."""
        self.events.append(Event(kind, name))

    def _on_open(self, vfs: int, name: int | None, file: int, flags: int, got: Any) -> int:
        """`name` is passed on as the pointer that it is: SQLite reads it for as long as the file is open."""
        done: int = self._open(vfs, name, file, flags, got)
        if done == OK and name:
            self._names[file] = Path(os.fsdecode(ctypes.string_at(name))).name
            opened = cast(file, POINTER(_File)).contents
            opened.methods = ctypes.pointer(self._around(opened.methods))
        return done

    def _on_delete(self, vfs: int, name: bytes, sync: int) -> int:
        done: int = self._delete(vfs, name, sync)
        if done == OK:
            self.events.append(Event("delete", Path(os.fsdecode(name)).name))
        return done

    def _around(self, methods: Any) -> _Methods:
        """Made once for each kind of file."""
        where = ctypes.addressof(methods.contents)
        if where not in self._wrapped:
            wrapped = _Methods()
            ctypes.pointer(wrapped)[0] = methods.contents
            write, truncate, sync = _Write(wrapped.write), _Truncate(wrapped.truncate), _Sync(wrapped.sync)

            def on_write(file: int, data: int, size: int, offset: int) -> int:
                done: int = write(file, data, size, offset)
                if done == OK:
                    self.events.append(Event("write", self._names[file], offset, ctypes.string_at(data, size)))
                return done

            def on_truncate(file: int, size: int) -> int:
                done: int = truncate(file, size)
                if done == OK:
                    self.events.append(Event("truncate", self._names[file], size))
                return done

            def on_sync(file: int, flags: int) -> int:
                done: int = sync(file, flags)
                if done == OK:
                    self.events.append(Event("sync", self._names[file]))
                return done

            hooks = (_Write(on_write), _Truncate(on_truncate), _Sync(on_sync))
            wrapped.write, wrapped.truncate, wrapped.sync = (cast(hook, c_void_p) for hook in hooks)
            self._kept += [hooks, write, truncate, sync]
            self._wrapped[where] = wrapped
        return self._wrapped[where]


def _library() -> ctypes.CDLL:
    """The one that is loaded already: another one would not be used by anybody."""
    maps = Path("/proc/self/maps")
    loaded = {line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines()} if maps.exists() else set()
    for path in (*sorted(one for one in loaded if "libsqlite3" in one), _sqlite3.__file__):
        library = ctypes.CDLL(path)
        if hasattr(library, "sqlite3_vfs_register"):
            return library
    raise Unshared("Python's SQLite is built into it, without names that others could use")
