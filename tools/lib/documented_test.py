#!/usr/bin/env python3
"""Options and examples as users meet them: each option that --help names is in the man page and in the
completions of bash, zsh and fish; the man page names no other; its examples run.

  documented_test.py options PREFIX    PREFIX is what meson installed: bin, share/man, ...
  documented_test.py examples PREFIX ROOM
  documented_test.py json PREFIX ROOM     each member of the JSON reports is in src/docs
  documented_test.py console PREFIX ROOM  "console" blocks of the pages print what they say
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

PLYFS = ("mount", "umount", "check", "ls", "inspect", "rm", "diff", "commit", "flatten", "convert",
         "run", "exec", "ps", "unshare", "image import", "image ls", "image inspect", "image history", "image rm",
         "image prune", "volume create", "volume ls", "volume inspect", "volume rm", "volume prune", "volume export",
         "volume import")
DUMP = ("which", "tree", "layers", "copyups", "verify", "compare", "stats", "snapshot")
EVERYWHERE = {"-h", "--help", "--version"}


def help_of(program, words):
    return subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True).stdout


def options_in_help(text):
    """The first column of CLI11's lists: "  -o,--options OPTS ...  what it is"."""
    found = set()
    for line in text.splitlines():
        if match := re.match(r"  (-[-\w]+(?:,-[-\w]+)*)", line):
            found.update(match[1].split(","))
    return found


def options_in_page(path):
    """Words that begin with a dash in the sources of a man page, examples left out."""
    text = path.read_text().replace("\\-", "-").replace("\\fB", " ").replace("\\fR", " ")
    text = re.sub(r"\.nf\n.*?\.fi\n", "", text, flags=re.S)
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][-\w]*", text.replace("\\fI", " ")))


def bash_offers(prefix, program, words):
    script = ('source "$1"; shift; COMP_WORDS=("$@" --); COMP_CWORD=$#; '
              'f=$(complete -p "$1" | sed "s/.*-F \\([^ ]*\\).*/\\1/"); "$f"; printf "%s\\n" "${COMPREPLY[@]}"')
    completions = prefix / f"share/bash-completion/completions/{program}"
    shown = subprocess.run(["bash", "--norc", "-c", script, "-", completions, program, *words],
                           capture_output=True, text=True, check=True).stdout
    return set(shown.split())


def check_program(prefix, program, commands):
    problems = []
    binary = prefix / "bin" / program
    page = options_in_page(prefix / f"share/man/man1/{program}.1")
    zsh = (prefix / "share/zsh/site-functions/_plyfs").read_text()
    fish = (prefix / "share/fish/vendor_completions.d/plyfs.fish").read_text()
    known = options_in_help(help_of(binary, [])) | EVERYWHERE
    general = known - EVERYWHERE
    for command in commands:
        words = command.split()
        options = (options_in_help(help_of(binary, words)) | general) - EVERYWHERE
        known |= options
        offered = bash_offers(prefix, program, words)
        for option in sorted(options):
            name = f"{program} {command} {option}"
            if option not in page:
                problems.append(f"{name}: not in the man page")
            if not option.startswith("--"):
                continue
            if option not in offered:
                problems.append(f"{name}: not offered by bash")
            if f"'{option}[" not in zsh and f"*{option}[" not in zsh:
                problems.append(f"{name}: not in the completions of zsh")
            if not re.search(rf"-c {program}\b.* -l {option[2:]}\b", fish):
                problems.append(f"{name}: not in the completions of fish")
    problems += [f"{program}(1) names {option}, --help does not" for option in sorted(page - known)]
    return problems


def mount_words_in_help(text):
    found = set()
    for token in re.search(r"Words of -o:\n(.*?)\nA comma", text, flags=re.S)[1].split():
        name = re.match(r"[]\[a-z_-]+\+?", token)[0]
        found.update({name[4:], "no" + name[4:]} if name.startswith("[no]") else {name})
    return found


def mount_words_in_page(path):
    """Bold words at the head of an entry: "\\fBlowerdir+=\\fR\\fIA\\fR, \\fBdatadir+=\\fR..."."""
    found = set()
    for line in path.read_text().replace("\\-", "-").splitlines():
        if line.startswith("\\fB"):
            for entry in line.split(", "):
                if match := re.match(r"\\fB([a-z_-]+\+?)", entry):
                    found.add(match[1])
    return found - {"plyfs", "plyfs-dump", "fuse"}


def check_mount_words(prefix):
    page = mount_words_in_page(prefix / "share/man/man5/plyfs-mount.5")
    told = mount_words_in_help(help_of(prefix / "bin/plyfs", ["mount"]))
    return ([f"-o {word}: not in plyfs-mount(5)" for word in sorted(told - page)] +
            [f"-o {word}: not in plyfs mount --help" for word in sorted(page - told)])


def check_options(prefix):
    problems = check_mount_words(prefix)
    problems += check_program(prefix, "plyfs", PLYFS) + check_program(prefix, "plyfs-dump", DUMP)
    print(*problems, sep="\n")
    return 1 if problems else 0


def examples_of(path):
    text = path.read_text()
    block = re.search(r'\.SH EXAMPLES\n.*?\.nf\n(?:\.RS 4\n)?(.*?)\.fi\n', text, flags=re.S)[1]
    lines = block.replace("\\&", "").replace("\\-", "-").replace("\\(aq", "'").replace("\\'", "'")
    return [line for line in lines.replace("\\e", "\\").splitlines() if not line.startswith(".")]


def run_examples(prefix, room):
    """Those of both pages, in one room: what plyfs(1) mounts is what plyfs-dump(1) looks at."""
    room = pathlib.Path(room)
    for directory in ("layers/top/etc", "layers/base/etc", "layers/base/bin", "up", "merged"):
        (room / directory).mkdir(parents=True)
    (room / "layers/base/etc/motd").write_text("base\n")
    (room / "layers/top/etc/motd").write_text("top\n")
    (room / "layers/base/bin/sh").write_text("sh\n")
    mount, *rest = examples_of(prefix / "share/man/man1/plyfs.1")
    dump = examples_of(prefix / "share/man/man1/plyfs-dump.1")
    environment = dict(os.environ, PATH=f"{prefix}/bin:{os.environ['PATH']}", HOME=str(room))
    failed = 0
    for line in [mount, *dump, *rest]:
        if "| jq " in line and not shutil.which("jq"):
            continue
        endless = "--watch" in line
        command = f"timeout -s INT 2 {line}" if endless else line
        ended = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", command], cwd=room, env=environment,
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if ended.returncode not in ((0, 124, 130) if endless else (0,)):
            print(f"{line}\n  ended with {ended.returncode}: {ended.stderr.strip()}")
            failed = 1
    return failed


JSON_REPORTS = ("plyfs-dump merged --json which --digest /etc/motd /gone /opaque/hidden /fifo",
                "plyfs-dump merged --json tree", "plyfs-dump merged --json snapshot --digest",
                "plyfs-dump merged --json layers", "plyfs-dump merged --json copyups",
                "plyfs-dump merged --json verify || test $? = 4", "plyfs-dump merged --json stats",
                "plyfs diff --json --all merged", "plyfs commit --json merged c.tar.gz",
                "plyfs flatten --json merged f", "plyfs convert --json layers/top --to aufs a")


def members_of(value):
    if isinstance(value, dict):
        return set(value) | set().union(*map(members_of, value.values()))
    return set().union(*map(members_of, value)) if isinstance(value, list) else set()


def check_json(prefix, room):
    room = pathlib.Path(room)
    for directory in ("layers/top/etc", "layers/base/etc", "layers/base/opaque", "layers/top/opaque", "up", "merged"):
        (room / directory).mkdir(parents=True)
    for path in ("layers/top/etc/motd", "layers/base/etc/motd", "layers/base/gone", "layers/top/.wh.gone",
                 "layers/base/opaque/hidden", "layers/top/opaque/.wh..wh..opq", "up/.wh.nothing"):
        (room / path).write_text(path)
    os.mkfifo(room / "layers/base/fifo")
    (room / "layers/base/link").symlink_to("etc")
    environment = dict(os.environ, PATH=f"{prefix}/bin:{os.environ['PATH']}", HOME=str(room))
    docs = pathlib.Path(__file__).resolve().parents[2] / "src/docs"
    text = (docs / "dump-json.md").read_text() + (docs / "design/control.md").read_text()
    documented = set(re.findall(r"`([^`]+)`", text))
    documented |= {word for quoted in documented for word in re.findall(r"[a-z_0-9]+", quoted)}

    def shell(command):
        return subprocess.run(["bash", "-c", command], cwd=room, env=environment, stdin=subprocess.DEVNULL, check=True,
                              stdout=subprocess.PIPE, text=True, timeout=60).stdout

    shell("plyfs mount --lower layers/top --lower layers/base --upper up merged && echo new >merged/etc/motd")
    problems = []
    try:
        for report in JSON_REPORTS:
            report_of = json.loads(shell(report))
            members = members_of(report_of)
            problems += [f"{report}: {member} is not documented" for member in sorted(members - documented)]
            if report_of.get("schema") != 1 or "plyfs" not in report_of:
                problems.append(f"{report}: no schema number")
    finally:
        shell("plyfs umount merged")
    print(*problems, sep="\n")
    return 1 if problems else 0


def sessions_of(page):
    """The `console` blocks of a page: lists of (command, lines it prints)."""
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.M | re.S):
        session = []
        for line in block.splitlines():
            if line.startswith("$ "):
                session.append((line[2:], []))
            else:
                session[-1][1].append(line)
        yield session


def prints(told, printed):
    """`...` stands for the rest of a line, or alone for any lines."""
    pattern = "".join("(?:[^\\n]*\\n)*" if line == "..." else
                      "[^\\n]*".join(re.escape(part) for part in line.split("...")) + "\\n" for line in told)
    return re.fullmatch(pattern, printed) is not None


def run_session(session, room, environment):
    """Lines about what was not printed as the page says."""
    room.mkdir(parents=True)
    environment = dict(environment, PLYFS_HOME=f"{room}/home")
    mark = "\x01"
    script = "".join(f"{{ {command}\n}} 2>&1; printf '{mark}'\n" for command, _ in session)
    ended = subprocess.run(["bash", "-c", script], cwd=room, env=environment, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=120)
    for (command, told), printed in zip(session, ended.stdout.split(mark)):
        if not prints(told, printed):
            yield f"$ {command}\n  told:    {told}\n  printed: {printed.splitlines()}"


def check_console(prefix, room):
    top = pathlib.Path(__file__).resolve().parents[2]
    room = pathlib.Path(room)
    environment = dict(os.environ, PATH=f"{prefix}/bin:{os.environ['PATH']}", LC_ALL="C", TZ="UTC")
    problems = []
    for page in [top / "README.md", *sorted((top / "src/docs").glob("*.md"))]:
        for number, session in enumerate(sessions_of(page)):
            found = run_session(session, room / f"{page.stem}-{number}", environment)
            problems += [f"{page.relative_to(top)}: {problem}" for problem in found]
    print(*problems, sep="\n")
    return 1 if problems else 0


def main():
    what, prefix = sys.argv[1], pathlib.Path(sys.argv[2])
    if what == "options":
        return check_options(prefix)
    checks = {"examples": run_examples, "json": check_json, "console": check_console}
    return checks[what](prefix, sys.argv[3])


if __name__ == "__main__":
    sys.exit(main())
