#!/usr/bin/env python3
"""daybook torture: runs each campaign on a real disk, says what it tried, leaves nothing behind."""
import json
import os
import re
import subprocess

from cli_support import DAYBOOK, FAILURE, OK, USAGE, main, promise


def torture(*arguments):
    done = subprocess.run([DAYBOOK, "torture", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


@promise("all campaigns run, say what they tried, and end with a plain statement")
def _(directory):
    status, out, err = torture("--dir", directory, "--time", "3s", "--seed", "7")
    assert status == OK and not err, (status, out, err)
    for campaign, what in (("kill", r"[1-9][\d,]* writers? killed"), ("power", r"[1-9][\d,]* states"),
                           ("corruption", r"[1-9][\d,]* logs? damaged")):
        assert re.search(rf"^  {campaign} +{what}", out, re.M), (campaign, out)
    assert "survived: nothing that was promised was broken" in out, out
    assert "seed 7" in out, out
    assert "but for 0 " not in out and "; no false event was read" in out, out
    assert not os.listdir(directory), os.listdir(directory)


@promise("one campaign alone tells its outcome as JSON")
def _(directory):
    status, out, err = torture("--dir", directory, "--time", "1s", "-o", "json", "corruption")
    said = json.loads(out)
    assert status == OK and said["survived"] is True, (status, out, err)
    assert [campaign["name"] for campaign in said["campaigns"]] == ["corruption"], out


@promise("an unknown campaign, and a directory that is not there, are refused by name")
def _(directory):
    status, _, err = torture("--dir", directory, "thirst")
    assert status == USAGE and "kill, power or corruption" in err, (status, err)
    status, _, err = torture("--dir", os.path.join(directory, "nowhere"))
    assert status == FAILURE and "nowhere" in err, (status, err)


main()
