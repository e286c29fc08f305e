"""SQL over a log: Python's sqlite3 on the index, with Daybook's extension where it can be loaded.

Without the extension there are all tables and columns but payloads, the topics' own tables and
Daybook's functions (docs/sql.md). Python can load it when its sqlite3 was built with extensions, as
Debian's and Ubuntu's are; pyenv's and Apple's mostly are not.
"""

import os
import sqlite3
import urllib.parse
from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

from . import _wire
from .errors import DaybookError

_HERE = os.path.dirname(os.path.abspath(__file__))
_PLACES = (os.path.join(_HERE, "..", "..", "..", "build", "daybook.so"),  # of the source tree
           "/usr/local/lib/daybook.so", "/usr/lib/daybook.so")


def open_index(directory: Optional[str] = None, *,
               extension: Optional[str] = None) -> "sqlite3.Connection":
    """The log's index, for reading only; works beside a running daemon, and without one.

    extension: the path of daybook.so; else $DAYBOOK_EXTENSION, else where it is usually found. Then
    one that cannot be loaded is a DaybookError; else the connection is without it."""
    connection, why_not = _open(directory, extension)
    if why_not and (extension or os.environ.get("DAYBOOK_EXTENSION")):
        connection.close()
        raise DaybookError(why_not)
    return connection


def sql(query: str, parameters: Union[Sequence[Any], Mapping[str, Any]] = (), *,
        directory: Optional[str] = None, extension: Optional[str] = None) -> List[sqlite3.Row]:
    """The rows that a query gives: `row["topic"]`, `row[0]`. The index is some milliseconds behind
    a running daemon; without one, `daybook sql` brings it up to the log first, this does not.

    DaybookError: there is no index, or the query is wrong, or it needs the extension: then the text
    says why that is not there."""
    connection, why_not = _open(directory, extension)
    try:
        return connection.execute(query, parameters).fetchall()
    except sqlite3.Error as error:
        missing = str(error).startswith("no such")
        hint = "; %s" % why_not if missing and why_not else ""
        raise DaybookError("%s%s" % (error, hint)) from None
    finally:
        connection.close()


def _open(directory: Optional[str],
          extension: Optional[str]) -> Tuple["sqlite3.Connection", str]:
    path = os.path.join(_wire.find_directory(directory), "events.db")
    if not os.path.exists(path):
        raise DaybookError("there is no index '%s'; a daemon makes it, or `daybook reindex`"
                           % path)
    address = "file:%s?mode=ro" % urllib.parse.quote(os.path.abspath(path))
    connection = sqlite3.connect(address, uri=True)
    connection.row_factory = sqlite3.Row
    return connection, _load(connection, extension or os.environ.get("DAYBOOK_EXTENSION"))


def _load(connection: "sqlite3.Connection", given: Optional[str]) -> str:
    """Load the extension. Returns why that was not possible; "" when it was."""
    if not hasattr(connection, "enable_load_extension"):
        return ("this Python's sqlite3 was built without extensions, so there are no payloads; use "
                "Debian's /usr/bin/python3, or the command `daybook sql`")
    path = given or next((place for place in _PLACES if os.path.exists(place)), None)
    if path is None:
        return ("Daybook's extension daybook.so was not found, so there are no payloads; name it "
                "in $DAYBOOK_EXTENSION")
    try:
        connection.enable_load_extension(True)
        connection.execute("SELECT load_extension(?)", (os.path.abspath(path),))
        return ""
    except sqlite3.Error as error:
        return "Daybook's extension '%s' cannot be loaded: %s" % (path, error)
    finally:
        connection.enable_load_extension(False)
