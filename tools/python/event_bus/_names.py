"""The names under which processes publish through the bridge: each has one of its own.

The log tells producers apart by name, and a name's numbers must come from one process at a time. So
a process takes the first free one of event_bridge.PROGRAM, event_bridge.PROGRAM.2 and so on, and
holds it with a socket in Linux' abstract name space, which the kernel takes away when the process
ends, however it ends. The next run of a program thus goes on under the name of the last, and with
its spill file; a second process beside it has the next name.
"""

import hashlib
import os
import re
import socket
import sys
from typing import TYPE_CHECKING, Optional, Tuple

from ._spill import Spill, SpillBusy

if TYPE_CHECKING:
    from ._courier import Config

_PLACES = 256
_NAME_MAX = 64


class Name:
    """A producer's name, held until release()."""

    def __init__(self, text: str, holder: Optional[socket.socket]):
        self.text = text
        self._holder = holder

    def release(self) -> None:
        """Somebody else may have it."""
        if self._holder:
            self._holder.close()


def absolute(path: str) -> str:
    """Whatever the program's directory becomes; as it is, where there is no such directory."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path


def program() -> str:
    """What this program is called, in characters that a name may have."""
    path = sys.argv[0] if getattr(sys, "argv", None) else ""
    name = os.path.basename(path)
    if name == "__main__.py":
        name = os.path.basename(os.path.dirname(absolute(path)))
    name = name[:-3] if name.endswith(".py") else name
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".-")
    return name or "python"


def claim(config: "Config", unique: bool = False) -> Tuple[Name, Optional[Spill]]:
    """A name and its spill file, if there are to be any. `unique`: a name that nobody else can
    have, because one that was free here is in use elsewhere."""
    if config.producer:
        return _claim_given(config, config.producer)
    base = ("event_bridge." + program())[:_NAME_MAX - 16]
    for place in range(0 if unique else _PLACES):
        text = base if place == 0 else "%s.%d" % (base, place + 1)
        holder = _hold(config.path, text)
        if holder is None:
            continue
        try:
            return Name(text, holder), _open_spill(config, text)
        except SpillBusy:
            holder.close()
    text = "%s.%s" % (base, os.urandom(6).hex())
    return Name(text, None), _open_spill(config, text)


def _claim_given(config: "Config", text: str) -> Tuple[Name, Optional[Spill]]:
    try:
        return Name(text, None), _open_spill(config, text)
    except SpillBusy:
        return Name(text, None), None


def _hold(path: str, text: str) -> Optional[socket.socket]:
    real = os.path.realpath(path) if os.path.isabs(path) else path
    log = hashlib.sha256(os.fsencode(real)).hexdigest()[:24]
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind("\0daybook/%s/%s" % (log, text))
    except OSError:
        holder.close()
        return None
    return holder


def _open_spill(config: "Config", text: str) -> Optional[Spill]:
    """None where there is to be none, or none can be: then what does not fit is dropped."""
    if not config.spill:
        return None
    try:
        return Spill(os.path.join(config.spill, text.replace("/", "_") + ".jsonl"),
                     config.spill_bytes)
    except OSError:
        return None
