#!/usr/bin/env python3
"""unbuilt.py BUILD: prints, for each source that BUILD has no object of, the command that checks it.

BUILD is a build directory of meson; the commands are to be run in it. The compiler looks at the whole
source, with all warnings, but makes no code, which is most of its work.
"""

import json
import pathlib
import shlex
import sys


def main():
    build = pathlib.Path(sys.argv[1])
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        if (build / entry["output"]).exists():
            continue
        words = shlex.split(entry["command"])
        words[words.index("-c") : words.index("-c") + 1] = ["-fsyntax-only"]
        at = words.index("-o")
        del words[at : at + 2]
        # Dependency files are of no use without an object.
        words = [word for word in words if word not in ("-MD",)]
        for option in ("-MQ", "-MF"):
            at = words.index(option)
            del words[at : at + 2]
        print(shlex.join(word for word in words if word != "ccache"))


if __name__ == "__main__":
    main()
