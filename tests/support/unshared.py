"""Runs a command as on a share without shared memory: `python -m tests.support.unshared command …`.

A filter of system calls (seccomp, https://docs.kernel.org/userspace-api/seccomp_filter.html) refuses to map a file
into memory that is shared, as such file systems do, with ENODEV.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_MMAP = {"x86_64": 9, "aarch64": 222}[platform.machine()]
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06  # classic BPF
_NUMBER, _FLAGS = 0, 16 + 3 * 8  # offsets in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.ENODEV
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2

_FILTER = (
    (_LOAD, 0, 0, _NUMBER),
    (_EQUAL, 0, 4, _MMAP),
    (_LOAD, 0, 0, _FLAGS),
    (_AND, 0, 0, 0x0F | _MAP_ANONYMOUS),
    (_EQUAL, 0, 1, _MAP_SHARED),
    (_RETURN, 0, 0, _REFUSE),
    (_RETURN, 0, 0, _ALLOW),
)

if __name__ == "__main__":
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _FILTER))
    program = struct.pack("HP", len(_FILTER), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program):
        raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(sys.argv[1], sys.argv[1:])
