"""Mark the folder where pip keeps downloads: each Python of the checker's last build imports this file when it starts."""

import atexit
import os
import subprocess
import sys


def report():
    words = sys.argv[1:]
    if "pip._internal" not in sys.modules or not {"install", "wheel", "download"}.intersection(words):
        return
    settings = []
    for number, word in enumerate(words):
        if word.startswith(("--no-cache", "--cache")) or words[number - 1] == "--cache-dir":
            settings.append(word)
    command = [sys.executable, "-m", "pip", *settings, "cache", "dir"]
    asked = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    folder = asked.stdout.decode().strip()
    if asked.returncode or not folder.startswith("/"):  # the cache is turned off
        return
    # Marks lie among pip's own files, so that whatever empties the cache removes them; all but one have the build's name.
    check, _, build = "MARK".partition("-")
    marks = [os.path.join(folder, part, "imagelab-" + check) for part in ("http", "http-v2")]
    kept = all(os.path.isdir(mark) and set(os.listdir(mark)) - {build, "kept"} for mark in marks)
    owned = os.geteuid() != 0 or not os.path.exists(folder) or os.stat(folder).st_uid == 0
    try:
        for mark in marks:
            os.makedirs(mark, exist_ok=True)
            open(os.path.join(mark, build), "w").close()
            open(os.path.join(mark, "kept"), "w").close()
        usable = owned
    except OSError:
        usable = False
    # The output of pip may go anywhere.
    with open(f"/imagelab-hook/printed/{build}-{os.getpid()}", "w") as output:
        output.write("imagelab-cache|{}|{}|{}|\n".format(folder, "usable" * usable, "kept" * kept))


atexit.register(report)
