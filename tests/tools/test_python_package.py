#!/usr/bin/env python3
"""tools/python as a package: installs with pip and without a network, is usable from its folder,
needs nothing but Python 3.8 and its standard library, and its documentation is true.
"""
import ast
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cli_support import ROOT, environment, main, promise  # noqa: E402
from python_support import PACKAGES, events_of, running, script  # noqa: E402

SOURCES = sorted(glob.glob(os.path.join(PACKAGES, "**", "*.py"), recursive=True))
PUBLIC = ["daybook", "event_bus", "event_bus.event_bridge"]
# The standard library's modules of which Python 3.8 has no more than this one has.
ALLOWED = set(sys.stdlib_module_names)
LATER = {"tomllib", "zoneinfo", "graphlib"}


def run(*words, **keywords):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **keywords)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


def tree_of(path):
    with open(path, encoding="utf-8") as file:
        return ast.parse(file.read(), path, feature_version=(3, 8))


@promise("every source is Python 3.8, and imports only the standard library and its neighbours")
def python_38(_directory):
    assert len(SOURCES) > 15, SOURCES
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                assert top in ("daybook", "event_bus") or top in ALLOWED - LATER, (path, name)
            # What parses in 3.8 and fails there when it runs.
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                assert node.value.id not in ("list", "dict", "set", "tuple", "type"), \
                    f"{path}:{node.lineno}: generic builtins are of Python 3.9"
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("removeprefix", "removesuffix", "randbytes", "to_thread",
                                         "bit_count"), f"{path}:{node.lineno}: {node.attr}"
            if isinstance(node, ast.arg) or isinstance(node, ast.AnnAssign):
                inside = [n for n in ast.walk(node.annotation or ast.Pass())
                          if isinstance(n, ast.BinOp) and isinstance(n.op, ast.BitOr)]
                assert not inside, f"{path}:{node.lineno}: X | Y is of Python 3.10"


@promise("daybook does not know event_bus")
def layers(_directory):
    for path in SOURCES:
        if os.path.dirname(path).endswith("daybook"):
            assert "event_bus" not in open(path, encoding="utf-8").read(), path


@promise("whatever is public is documented, and the packages say that they are typed")
def documented(_directory):
    for path in SOURCES:
        tree = tree_of(path)
        assert ast.get_docstring(tree), f"{path} does not say what it is"
        for node in ast.walk(tree):
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            inner = node.name.startswith("_")
            if not inner and node in tree.body:
                assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name}"
            if isinstance(node, ast.FunctionDef) and not inner \
                    and not path.endswith("packaging_backend.py"):
                assert node.returns is not None, f"{path}:{node.lineno}: {node.name} has no type"
    for package in ("daybook", "event_bus"):
        assert os.path.exists(os.path.join(PACKAGES, package, "py.typed"))


def pip_environment():
    """Without a network, a configuration or a cache to help."""
    env = {k: v for k, v in environment().items() if not k.startswith(("PIP_", "PYTHON"))}
    env.update(PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_NO_CACHE_DIR="1",
               PIP_DISABLE_PIP_VERSION_CHECK="1")
    return env


def files_in_the_tree():
    return sorted(path for path in glob.glob(os.path.join(PACKAGES, "**"), recursive=True)
                  if "__pycache__" not in path)


USE = """
import sys
import daybook, event_bus
from event_bus import event_bridge
from event_bus.event_bridge import signal_generated
import daybook._sql
with daybook.Producer(sys.argv[1]) as producer:
    print(producer.publish("installed", 1), daybook.__file__)
"""


@promise("'pip install ./tools/python' works in a virtual environment without a network")
def pip_install(directory):
    env = pip_environment()
    venv = os.path.join(directory, "venv")
    run(sys.executable, "-m", "venv", venv)
    python = os.path.join(venv, "bin", "python")
    before = files_in_the_tree()
    run(python, "-m", "pip", "install", "./tools/python", cwd=ROOT, env=env)
    with running(directory) as daemon:
        said = run(python, "-c", USE, daemon.directory, cwd=directory, env=env)
        assert venv in said, said
        files = run(python, "-m", "pip", "show", "-f", "daybook", env=env)
        assert "event_bus/event_bridge.py" in files and "daybook/py.typed" in files, files
        assert "Version: 0.1.0" in files, files
        run(python, "-m", "pip", "check", env=env)
        run(python, "-m", "pip", "uninstall", "-y", "daybook", env=env)
        run(python, "-m", "pip", "install", "-e", "./tools/python", cwd=ROOT, env=env)
        said = run(python, "-c", USE, daemon.directory, cwd=directory, env=env)
        assert PACKAGES in said, said
    assert files_in_the_tree() == before, "installing leaves nothing in the source tree"


@promise("the packages are usable from their folder, as it stands")
def from_the_folder(directory):
    with running(directory) as daemon:
        program = script(directory, USE, daemon.directory, stdout=subprocess.PIPE)
        said = program.communicate()[0].decode()
        assert program.returncode == 0 and said == f"1 {PACKAGES}/daybook/__init__.py\n", said


@promise("the examples of the README run, and do what they say")
def examples(directory):
    readme = open(os.path.join(PACKAGES, "README.md"), encoding="utf-8").read()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len(blocks) == 2
    with running(directory) as daemon:
        env = {"DAYBOOK_DIR": daemon.directory}
        for block in blocks:
            program = script(directory, block, env=env, stdout=subprocess.PIPE)
            said = program.communicate()[0].decode()
            assert program.returncode == 0, block
            if "Producer" in block:
                lines = said.splitlines()
                assert len(lines) >= 998 and lines[0].startswith("1 "), lines[:2]
                assert "name='billing', position=1001, lag=0" in said, lines[-3:]
        topics = [event["topic"] for event in events_of(daemon)]
        assert topics[-2:] == ["signal_generated", "trade_executed"], topics[-3:]


@promise("versions are the same everywhere")
def versions(_directory):
    header = open(os.path.join(ROOT, "tools", "client", "daybook.h"), encoding="utf-8").read()
    version = re.search(r'#define DAYBOOK_VERSION "(.*)"', header).group(1)
    assert f'\nversion = "{version}"\n' in open(os.path.join(PACKAGES, "pyproject.toml"),
                                                encoding="utf-8").read()
    for path in ("daybook/__init__.py", "daybook/producer.py", "event_bus/_courier.py"):
        text = open(os.path.join(PACKAGES, path), encoding="utf-8").read()
        found = re.findall(r'(?:__version__ = "|-python/)([\d.]+)"', text)
        assert found == [version], (path, found)


main()
