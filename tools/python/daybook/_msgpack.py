"""msgpack, all of it, in plain Python.

    pack(value) -> bytes              unpack(data) -> value

None, bool, int (-2^63 to 2^64-1), float (always a double, to the last bit; NaN and infinity too),
str, bytes, list or tuple, dict, and Ext for extension types. Subclasses are packed as what they
are made from. An array comes back as a list (as a tuple where it is the key of a map), a map as a
dict; of two equal keys the last counts. A str must be valid UTF-8, so a lone surrogate is refused:
there is no byte sequence for it that the log would take.

Bytes are untrusted: no length in them is believed beyond the bytes that are there.
"""

from struct import Struct, error as StructError
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

DEPTH_MAX = 256  # arrays and maps inside each other; the log itself takes 32


class Ext(NamedTuple):
    """A value of an extension type: a code from -128 to 127, and its bytes."""

    code: int
    data: bytes


class PackError(ValueError):
    """The value has no form in msgpack; the text says which part of it, and why."""


class UnpackError(ValueError):
    """The bytes are not one msgpack value."""


_U8 = Struct(">BB").pack
_U16 = Struct(">BH").pack
_U32 = Struct(">BI").pack
_U64 = Struct(">BQ").pack
_I8 = Struct(">Bb").pack
_I16 = Struct(">Bh").pack
_I32 = Struct(">Bi").pack
_I64 = Struct(">Bq").pack
_F64 = Struct(">Bd").pack
_FIXED = [bytes([n]) for n in range(256)]

_short_texts: Dict[str, bytes] = {}  # packed keys: the same few come again and again


def pack(value: Any) -> bytes:
    """One value as msgpack, in its shortest form."""
    out: List[bytes] = []
    try:
        _pack(value, out.append, DEPTH_MAX)
    except RecursionError:
        raise PackError("the value is nested too deeply for the stack that is left") from None
    return b"".join(out)


def _pack(value: Any, add: Callable[[bytes], None], depth: int) -> None:
    kind = type(value)
    if kind is str:
        add(_short_texts.get(value) or pack_text(value))
    elif kind is int:
        add(pack_integer(value))
    elif kind is float:
        add(_F64(0xCB, value))
    elif kind is dict:
        _pack_map(value, add, depth - 1)
    elif value is None:
        add(b"\xc0")
    elif kind is bool:
        add(b"\xc3" if value else b"\xc2")
    elif kind is list or kind is tuple:
        _pack_array(value, add, depth - 1)
    else:
        _pack_other(value, add, depth)


def _pack_map(value: Dict[Any, Any], add: Callable[[bytes], None], depth: int) -> None:
    if depth < 0:
        raise PackError("the value is nested more than %d deep, or contains itself" % DEPTH_MAX)
    add(_head(len(value), 0x80, 16, 0, 0xDE, 0xDF))
    for key, item in value.items():
        if type(key) is str:
            known = _short_texts.get(key)
            add(known if known is not None else _remember(key))
        else:
            _pack(key, add, depth)
        _pack(item, add, depth)


def _pack_array(value: Any, add: Callable[[bytes], None], depth: int) -> None:
    if depth < 0:
        raise PackError("the value is nested more than %d deep, or contains itself" % DEPTH_MAX)
    add(_head(len(value), 0x90, 16, 0, 0xDC, 0xDD))
    for item in value:
        _pack(item, add, depth)


def _pack_other(value: Any, add: Callable[[bytes], None], depth: int) -> None:
    if isinstance(value, Ext):
        add(_pack_ext(value))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        add(_head(len(data), 0, 0, 0xC4, 0xC5, 0xC6) + data)
    elif isinstance(value, str):
        add(pack_text(str.__str__(value)))
    elif isinstance(value, int):
        add(pack_integer(int(value)))
    elif isinstance(value, float):
        add(_F64(0xCB, float(value)))
    elif isinstance(value, dict):
        _pack_map(value, add, depth - 1)
    elif isinstance(value, (list, tuple)):
        _pack_array(value, add, depth - 1)
    else:
        raise PackError("a value of type %s has no form in msgpack; make a str, number, list or "
                        "dict of it" % type(value).__name__)


def _remember(key: str) -> bytes:
    packed = pack_text(key)
    if len(packed) <= 64 and len(_short_texts) < 4096:
        _short_texts[key] = packed
    return packed


def pack_text(text: str) -> bytes:
    """A str. PackError for a lone surrogate."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise PackError("the text has a lone surrogate at position %d (%r), which is no character "
                        "of UTF-8" % (error.start, text[error.start])) from None
    size = len(data)
    if size < 32:
        return _FIXED[0xA0 | size] + data
    return _head(size, 0xA0, 32, 0xD9, 0xDA, 0xDB) + data


def pack_integer(value: int) -> bytes:
    """An int, from -2^63 to 2^64-1."""
    if value >= 0:
        if value < 0x80:
            return _FIXED[value]
        if value < 0x100:
            return _U8(0xCC, value)
        if value < 0x10000:
            return _U16(0xCD, value)
        if value < 0x100000000:
            return _U32(0xCE, value)
        if value < 0x10000000000000000:
            return _U64(0xCF, value)
    elif value >= -0x20:
        return _FIXED[0x100 + value]
    elif value >= -0x80:
        return _I8(0xD0, value)
    elif value >= -0x8000:
        return _I16(0xD1, value)
    elif value >= -0x80000000:
        return _I32(0xD2, value)
    elif value >= -0x8000000000000000:
        return _I64(0xD3, value)
    raise PackError("an integer of %d bits does not fit into 64; make a str or a float of it"
                    % value.bit_length())


def pack_array_head(count: int) -> bytes:
    """What comes before the elements of an array."""
    return _head(count, 0x90, 16, 0, 0xDC, 0xDD)


def _head(size: int, fixed: int, below: int, code8: int, code16: int, code32: int) -> bytes:
    if size < below:
        return _FIXED[fixed | size]
    if code8 and size < 0x100:
        return _U8(code8, size)
    if size < 0x10000:
        return _U16(code16, size)
    if size < 0x100000000:
        return _U32(code32, size)
    raise PackError("%d bytes or elements are more than msgpack can count" % size)


def _pack_ext(value: Ext) -> bytes:
    size = len(value.data)
    if not -128 <= value.code <= 127:
        raise PackError("the code of an extension is from -128 to 127, not %d" % value.code)
    fixed = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}.get(size)
    head = _FIXED[fixed] if fixed else _head(size, 0, 0, 0xC7, 0xC8, 0xC9)
    return head + _FIXED[value.code & 0xFF] + bytes(value.data)


# ---- Unpacking: a table of what each first byte means ---------------------------------------

_NUMBERS = {code: Struct(form) for code, form in (
    (0xCA, ">f"), (0xCB, ">d"), (0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"),
    (0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q"))}
_LENGTHS = {code: (Struct(form), kind) for code, form, kind in (
    (0xC4, ">B", "bin"), (0xC5, ">H", "bin"), (0xC6, ">I", "bin"),
    (0xC7, ">B", "ext"), (0xC8, ">H", "ext"), (0xC9, ">I", "ext"),
    (0xD9, ">B", "str"), (0xDA, ">H", "str"), (0xDB, ">I", "str"),
    (0xDC, ">H", "array"), (0xDD, ">I", "array"), (0xDE, ">H", "map"), (0xDF, ">I", "map"))}
_SINGLE = {0xC0: None, 0xC2: False, 0xC3: True}
_EXT_SIZES = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


def unpack(data: bytes) -> Any:
    """The one value that `data` holds. UnpackError when it holds another number of them."""
    value, end = unpack_from(data, 0)
    if end != len(data):
        raise UnpackError("%d bytes follow behind the value" % (len(data) - end))
    return value


def unpack_from(data: bytes, at: int) -> Tuple[Any, int]:
    """The value that begins at `at`, and where it ends."""
    try:
        return _unpack(data, at, DEPTH_MAX)
    except (IndexError, StructError):
        raise UnpackError("the bytes end within a value") from None
    except UnicodeDecodeError:
        raise UnpackError("a text is not valid UTF-8") from None
    except RecursionError:
        raise UnpackError("the value is nested too deeply for the stack that is left") from None


def _unpack(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if 0xA0 <= code < 0xC0:
        end = at + (code & 31)
        return _text(data, at, end), end
    if code < 0x90:
        return _unpack_map(data, at, code & 15, depth - 1)
    if code < 0xA0:
        return _unpack_array(data, at, code & 15, depth - 1)
    if code >= 0xE0:
        return code - 256, at
    number = _NUMBERS.get(code)
    if number is not None:
        return number.unpack_from(data, at)[0], at + number.size
    if code in _SINGLE:
        return _SINGLE[code], at
    return _unpack_long(data, at, code, depth)


def _unpack_long(data: bytes, at: int, code: int, depth: int) -> Tuple[Any, int]:
    if code in _EXT_SIZES:
        return _unpack_ext(data, at, _EXT_SIZES[code])
    if code not in _LENGTHS:
        raise UnpackError("%#x begins no value" % code)
    form, kind = _LENGTHS[code]
    size = form.unpack_from(data, at)[0]
    at += form.size
    if kind == "array":
        return _unpack_array(data, at, size, depth - 1)
    if kind == "map":
        return _unpack_map(data, at, size, depth - 1)
    if kind == "ext":
        return _unpack_ext(data, at, size)
    if kind == "str":
        return _text(data, at, at + size), at + size
    return _slice(data, at, at + size), at + size


def _slice(data: bytes, at: int, end: int) -> bytes:
    if end > len(data):
        raise IndexError
    return bytes(data[at:end])


def _text(data: bytes, at: int, end: int) -> str:
    if end > len(data):
        raise IndexError
    return str(data[at:end], "utf-8")


def _unpack_ext(data: bytes, at: int, size: int) -> Tuple[Ext, int]:
    code = data[at]
    end = at + 1 + size
    return Ext(code - 256 if code > 127 else code, _slice(data, at + 1, end)), end


def _unpack_array(data: bytes, at: int, count: int, depth: int) -> Tuple[List[Any], int]:
    if depth < 0:
        raise UnpackError("the value is nested more than %d deep" % DEPTH_MAX)
    items = []
    for _ in range(count):
        item, at = _unpack(data, at, depth)
        items.append(item)
    return items, at


def _unpack_map(data: bytes, at: int, count: int, depth: int) -> Tuple[Dict[Any, Any], int]:
    if depth < 0:
        raise UnpackError("the value is nested more than %d deep" % DEPTH_MAX)
    items: Dict[Any, Any] = {}
    for _ in range(count):
        key, at = _unpack(data, at, depth)
        value, at = _unpack(data, at, depth)
        if key.__class__ is not str:
            key = _hashable(key)
        items[key] = value
    return items, at


def _hashable(key: Any) -> Any:
    if isinstance(key, Ext):
        return key
    if isinstance(key, list):
        return tuple(map(_hashable, key))
    if isinstance(key, dict):
        return tuple((k, _hashable(v)) for k, v in key.items())
    return key
