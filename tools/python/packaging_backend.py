"""What `pip install ./tools/python` calls: makes a wheel of the packages daybook and event_bus.

A wheel of plain Python is a zip file with three small texts in it. To have those written by
setuptools, pip would first fetch setuptools from the network, on a machine that may have none. So
this writes them itself, by the standards: PEP 517 (these functions), PEP 427 (the wheel), PEP 660
(`pip install -e`). The metadata is in pyproject.toml; what is read of it are its plain strings and
lists of strings, because Python has a parser for TOML only since 3.11.
"""

import base64
import hashlib
import os
import re
import tarfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ("daybook", "event_bus")
WHEEL = "Wheel-Version: 1.0\nGenerator: daybook\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _project():
    """The keys of [project] that are strings, and those that are lists of them."""
    with open(os.path.join(HERE, "pyproject.toml"), encoding="utf-8") as file:
        text = file.read().partition("[project]")[2]
    keys = dict(re.findall(r'^([\w-]+) = "([^"]*)"$', text, re.M))
    keys["license"] = re.search(r'^license = { text = "([^"]*)" }$', text, re.M).group(1)
    for name, items in re.findall(r"^([\w-]+) = \[(.*?)\]$", text, re.M | re.S):
        keys[name] = re.findall(r'"([^"]*)"', items)
    return keys


def _metadata(keys):
    lines = ["Metadata-Version: 2.1", "Name: " + keys["name"], "Version: " + keys["version"],
             "Summary: " + keys["description"], "License: " + keys["license"],
             "Requires-Python: " + keys["requires-python"],
             "Keywords: " + ",".join(keys["keywords"])]
    lines += ["Classifier: " + line for line in keys["classifiers"]]
    lines += ["Description-Content-Type: text/markdown", ""]
    with open(os.path.join(HERE, keys["readme"]), encoding="utf-8") as file:
        return "\n".join(lines) + "\n" + file.read()


def _sources():
    """The packages' files, as paths seen from here."""
    for package in PACKAGES:
        for folder, folders, files in os.walk(os.path.join(HERE, package)):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(files):
                if name.endswith((".py", ".pyi")) or name == "py.typed":
                    yield os.path.relpath(os.path.join(folder, name), HERE)


class _Wheel:
    """A wheel being written: every file gets a line in its RECORD. The same sources give the same
    bytes."""

    def __init__(self, folder):
        keys = _project()
        stem = "%s-%s" % (keys["name"], keys["version"])
        self.name = stem + "-py3-none-any.whl"
        self._info = stem + ".dist-info"
        self._record = []
        self._zip = zipfile.ZipFile(os.path.join(folder, self.name), "w", zipfile.ZIP_DEFLATED)
        self._keys = keys

    def add(self, path, data):
        """A file of the wheel."""
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self._record.append("%s,sha256=%s,%d\n" % (path, digest, len(data)))
        self._write(path, data)

    def _write(self, path, data):
        entry = zipfile.ZipInfo(path.replace(os.sep, "/"), (2020, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        self._zip.writestr(entry, data)

    def finish(self):
        """Write what describes the wheel; returns its name."""
        self.add(self._info + "/METADATA", _metadata(self._keys).encode())
        self.add(self._info + "/WHEEL", WHEEL.encode())
        record = self._info + "/RECORD"
        self._write(record, ("".join(self._record) + record + ",,\n").encode())
        self._zip.close()
        return self.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 517: the packages themselves."""
    wheel = _Wheel(wheel_directory)
    for path in _sources():
        with open(os.path.join(HERE, path), "rb") as file:
            wheel.add(path, file.read())
    return wheel.finish()


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 660: a pointer to this folder."""
    wheel = _Wheel(wheel_directory)
    wheel.add("daybook_editable.pth", (HERE + "\n").encode())
    return wheel.finish()


def build_sdist(sdist_directory, config_settings=None):
    """PEP 517: this folder, as far as it belongs to the packages."""
    keys = _project()
    stem = "%s-%s" % (keys["name"], keys["version"])
    name = stem + ".tar.gz"
    with tarfile.open(os.path.join(sdist_directory, name), "w:gz") as archive:
        for path in ["pyproject.toml", "packaging_backend.py", keys["readme"], *_sources()]:
            archive.add(os.path.join(HERE, path), stem + "/" + path)
        info = os.path.join(sdist_directory, "PKG-INFO")
        with open(info, "w", encoding="utf-8") as file:
            file.write(_metadata(keys))
        archive.add(info, stem + "/PKG-INFO")
        os.unlink(info)
    return name
