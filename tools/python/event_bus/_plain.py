"""Data as users have it, made into what JSON can say.

look() tells within bounded work what some data is; plain() makes whatever it is plain: exact str,
int, float, bool, None, list and dict with str keys, at most so deep. Nothing here raises for any
data; only the user's own methods (__str__, tolist …) can, and their Exceptions are caught. What is
none (SystemExit, KeyboardInterrupt) goes through: it is most likely a signal handler's, which has
interrupted us and wants the program to end.

Work is bounded before it is done: lengths are looked at before anything is copied.
"""

import base64
import datetime
import enum
import re
from typing import Any, Dict, List, Optional

SIZE_MAX = 1 << 20  # of a payload, as the log takes it
VALUES_MAX = 20000   # in an event: what some milliseconds can look at and make plain
DEPTH_MAX = 32      # arrays and maps inside each other, as the log takes them

PLAIN, OTHER, LARGE = range(3)

_TEXT_MAX = 1 << 16  # of what a str() makes of an object that we do not know


def look(data: Any) -> int:
    """PLAIN: made of nothing but exact builtin types, and not certain to be too large. LARGE: more
    than an event can be. OTHER: plain() has to make it plain. Looks at no more than VALUES_MAX."""
    budget = SIZE_MAX
    values = VALUES_MAX
    level = [data]
    for _ in range(DEPTH_MAX):
        deeper: List[Any] = []
        for value in level:
            kind = type(value)
            if kind is str:
                budget -= len(value)
            elif kind is float or value is None or kind is bool:
                continue
            elif kind is int:
                if value.bit_length() > 64:
                    return OTHER
            elif kind is dict:
                values -= len(value)
                if values < 0:
                    return LARGE
                for key in value:
                    if type(key) is not str:
                        return OTHER
                    budget -= len(key)
                deeper.extend(value.values())
            elif kind is list or kind is tuple:
                values -= len(value)
                if values < 0:
                    return LARGE
                deeper.extend(value)
            else:
                return OTHER
        if budget < 0:
            return LARGE
        if not deeper:
            return PLAIN
        level = deeper
    return OTHER


class TooLarge(Exception):
    """The data is more than an event can be."""


class _Budget:
    __slots__ = ("left", "values")

    def __init__(self) -> None:
        self.left = SIZE_MAX
        self.values = VALUES_MAX

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise TooLarge

    def spend_value(self) -> None:
        self.values -= 1
        if self.values < 0:
            raise TooLarge

    def check(self, values: int) -> None:
        """Before so many are copied."""
        if values > self.values:
            raise TooLarge


def plain(data: Any) -> Any:
    """A copy of the data that is plain. TooLarge: more than SIZE_MAX, or than VALUES_MAX."""
    return _plain(data, DEPTH_MAX, _Budget())


def _plain(value: Any, depth: int, budget: _Budget) -> Any:
    budget.spend_value()
    if value is None or value is True or value is False:
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth, budget)
    if isinstance(value, str):
        budget.spend(len(value))
        return _text(str.__str__(value))
    if isinstance(value, int):
        return _integer(int(value), budget)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (dict, list, tuple, set, frozenset)) or _is_mapping(value):
        if depth <= 0:
            return "<%s inside too many others>" % type(value).__name__
        return _container(value, depth - 1, budget)
    return _other(value, depth, budget)


def _text(text: str) -> str:
    """Without lone surrogates, which no UTF-8 has."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def _integer(value: int, budget: _Budget) -> Any:
    """As text where 64 bits do not hold it."""
    if -(1 << 63) <= value < 1 << 64:
        return value
    budget.spend(value.bit_length() // 4)
    return str(value) if value.bit_length() < 10000 else hex(value)


def _is_mapping(value: Any) -> bool:
    return hasattr(value, "keys") and hasattr(value, "__getitem__")


def _container(value: Any, depth: int, budget: _Budget) -> Any:
    for base in (list, tuple, set, frozenset):
        if isinstance(value, base):
            budget.check(base.__len__(value))
            # At once, whatever other threads do; and whatever its own __iter__ says.
            return [_plain(item, depth, budget) for item in list(base.__iter__(value))]
    items: List[Any] = []
    try:
        if isinstance(value, dict):
            budget.check(dict.__len__(value))
            items = list(dict.items(value))
        else:
            for key in value.keys():
                budget.check(len(items) + 1)
                items.append((key, value[key]))
    except TooLarge:
        raise
    except Exception:  # pylint: disable=broad-except
        return _words(value, budget)
    made: Dict[str, Any] = {}
    for key, item in items:
        made[_key(key, budget)] = _plain(item, depth, budget)
    return made


def _key(key: Any, budget: _Budget) -> str:
    """As json.dumps makes keys, and str() of whatever it refuses."""
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        budget.spend(len(key))
        return _text(str.__str__(key))
    if key is None or key is True or key is False:
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, float):
        return float.__repr__(key)
    return _words(key, budget)


def _other(value: Any, depth: int, budget: _Budget) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        budget.spend(value.nbytes if isinstance(value, memoryview) else len(value))
        data = bytes(value)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return base64.b64encode(data).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    made = _by_its_own_means(value, depth, budget)
    return _words(value, budget) if made is None else made


def _by_its_own_means(value: Any, depth: int, budget: _Budget) -> Optional[Any]:
    """Arrays and numbers of numpy, dataclasses; None for everything else."""
    try:
        if hasattr(value, "tolist") and depth > 0:
            budget.check(int(getattr(value, "size", 1)))
            return _plain(value.tolist(), depth, budget)
        if hasattr(value, "__dataclass_fields__") and not isinstance(value, type) and depth > 0:
            return {name: _plain(getattr(value, name), depth - 1, budget)
                    for name in value.__dataclass_fields__}
    except TooLarge:
        raise
    except Exception:  # pylint: disable=broad-except
        pass
    return None


def _words(value: Any, budget: _Budget) -> str:
    try:
        text = _text(str(value)[:_TEXT_MAX])
    except Exception:  # pylint: disable=broad-except
        text = "<%s that has no text>" % type(value).__name__
    budget.spend(len(text))
    return text


_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?"
                  r"(?:[zZ]|([+-])(\d\d):?(\d\d))?", re.ASCII)


def nanoseconds_of(timestamp: Any) -> Optional[int]:
    """The time that a timestamp means, by the daemon's rules for JSON: ISO 8601 text (UTC unless it
    says otherwise), or a number since 1970: seconds, ms, us or ns by its size. None: no time."""
    try:
        if isinstance(timestamp, str):
            return _of_text(timestamp.strip())
        if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float)):
            return None
        size = abs(timestamp)
        scale = 10 ** 9 if size < 1e11 else 10 ** 6 if size < 1e14 else 1000 if size < 1e17 else 1
        if isinstance(timestamp, float) and scale > 1:
            nanoseconds = round(timestamp * (scale // 1000)) * 1000
        else:
            nanoseconds = int(timestamp) * scale
        return nanoseconds if abs(nanoseconds) < 1 << 63 else None
    except (ValueError, OverflowError):
        return None


def _of_text(text: str) -> Optional[int]:
    match = _ISO.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    when = datetime.datetime(year, month, day, hour, minute, second)
    since = when - datetime.datetime(1970, 1, 1)
    seconds = since.days * 86400 + since.seconds
    if match.group(8):
        offset = 3600 * int(match.group(9)) + 60 * int(match.group(10))
        seconds -= offset if match.group(8) == "+" else -offset
    return seconds * 10 ** 9 + int((match.group(7) or "").ljust(9, "0"))
