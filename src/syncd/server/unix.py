"""One Unix socket to listen at: private from its first moment, taken over from the dead only, removed by its owner."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path


class UnixSocket:
    def __init__(self, path: Path) -> None:
        """Bind with mode 0660. A dead socket in its place goes; OSError (EADDRINUSE) when somebody answers there."""
        _clear(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o117)
        try:
            self.socket.bind(str(path))
        except BaseException:
            self.socket.close()
            raise
        finally:
            os.umask(before)
        self.socket.setblocking(False)
        self._path = path
        self._inode = path.stat().st_ino

    def remove(self) -> None:
        """Take the file away, unless another process has put its own there meanwhile."""
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            return


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process answers there")
