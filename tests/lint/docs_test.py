#!/usr/bin/env python3
"""The pages: links lead somewhere, the README keeps to its size, and what is quoted exists.

- Every link of a page leads to a file, and its anchor to a heading.
- README.md has at most 180 lines, and no table row above 120 characters.
- Each `plyfs ...` and `plyfs-dump ...` of an example, or written as code, is a command that the man pages or the
  sources know, with options that they know; words of -o are in plyfs-mount(5). tools/lib/documented_test.py
  holds the man pages against --help.
- src/docs/options.md has the words of plyfs-mount(5), and no others.
- The messages of src/docs/troubleshooting.md are in the sources.
- The index of src/DECISIONS.md has each record, once.
- src/docs/layers.svg is what tools/lib/picture.py draws.
- What a comment calls docs/PAGE.md is there.
- Some turns that readers stumbled over do not come back.
"""
import os
import re
import subprocess
import sys

import sources

README_LINES, README_ROW = 180, 120
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGE_TREES = ("src", "bench", "tests")
MAN = "tools/man/"
PROGRAMS = ("plyfs", "plyfs-dump")
ERRNO_WORDS = {os.strerror(number) for number in range(1, 134)}


def pages():
    found = list(PAGES)
    for tree in PAGE_TREES:
        for directory, _, files in os.walk(os.path.join(sources.ROOT, tree)):
            found += [os.path.relpath(os.path.join(directory, name), sources.ROOT) for name in files if name.endswith(".md")]
    return sorted(found)


# ---- links -------------------------------------------------------------------------------------

LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)


def without_code(text):
    text = FENCE.sub(lambda match: sources.blank(match[0]), text)
    text = re.sub(r"^(?: {4}|\t).*$", lambda match: sources.blank(match[0]), text, flags=re.M)
    return re.sub(r"`[^`\n]+`", lambda match: sources.blank(match[0]), text)


def slug(heading):
    """The anchor that a forge makes of a heading."""
    heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def anchors(text):
    found, seen = set(), {}
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", text), flags=re.M):
        name = slug(heading)
        seen[name] = seen.get(name, -1) + 1
        found.add(name if seen[name] == 0 else f"{name}-{seen[name]}")
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def link_problems(page, text):
    for match in LINK.finditer(without_code(text)):
        target = match[1]
        if re.match(r"[a-z]+:", target):
            continue
        line = text.count("\n", 0, match.start()) + 1
        path, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(os.path.join(sources.ROOT, file)):
            yield f"{page}:{line}: leads nowhere: {target}"
        elif anchor and file.endswith(".md") and anchor not in anchors(sources.read(file)):
            yield f"{page}:{line}: no such heading: {target}"


# ---- the README's size -------------------------------------------------------------------------

def readme_problems(text):
    lines = text.splitlines()
    if len(lines) > README_LINES:
        yield f"README.md: {len(lines)} lines; it has at most {README_LINES}"
    for number, line in enumerate(lines, 1):
        if line.startswith("|") and len(line) > README_ROW:
            yield f"README.md:{number}: a row of {len(line)} characters; at most {README_ROW}"


# ---- commands, options and words ---------------------------------------------------------------

def plain(scdoc):
    """A page in scdoc without its marks for bold and italic, and without escapes."""
    return re.sub(r"(?<!\\)[*]|(?<![\w\\])_|_(?!\w)", "", scdoc).replace("\\", "")


def man_page(name):
    return sources.read(MAN + name + ".scd")


def known_commands(program, literals):
    """The bold words of the synopsis, and what the usage texts of the sources name: "volume", "create"."""
    synopsis = re.search(r"# SYNOPSIS\n(.*?)\n# ", man_page(program + ".1"), flags=re.S)[1]
    found = {word for bold in re.findall(r"\*([^*]+)\*", synopsis) for word in bold.split() if word[0].isalpha()}
    for usage in re.findall(rf"(?:^|\\n) *{program} ([a-z]+(?: [a-z]+)?(?: \| [a-z]+)*)", literals, flags=re.M):
        found |= set(re.findall("[a-z]+", usage))
    return found


def known_options(program, literals):
    """Those of the man page, and those that the sources declare to the parser: "-e,--env"."""
    found = set(re.findall(r"(?<![\w-])--?[a-zA-Z][-\w]*", plain(man_page(program + ".1"))))
    for declared in re.findall(r"^(--?[a-zA-Z][-\w]*(?:,--[a-z][-\w]*)?)$", literals, flags=re.M):
        found.update(declared.split(","))
    return found | {"-h", "--help", "--version"}


def known_words():
    """Bold words at the head of an entry of plyfs-mount(5): "*lowerdir+=*_A_, *datadir+=*_A_"."""
    found = set()
    for line in man_page("plyfs-mount.5").splitlines():
        for entry in line.split(", ") if line.startswith("*") else []:
            if match := re.match(r"\*([a-z][a-z_-]+\+?)[=*]", entry):
                found.add(match[1])
    return found - {"plyfs", "plyfs-dump", "fuse"}


def code_of(text):
    """(line, command line) of examples: fenced and indented blocks, and code in a sentence or a table."""
    for match in re.finditer(r"^```(sh|console|)\n(.*?)^```", text, flags=re.M | re.S):
        first = text.count("\n", 0, match.start()) + 2
        for number, line in enumerate(match[2].splitlines(), first):
            if match[1] != "console":
                yield number, line
            elif line.startswith("$ "):
                yield number, line[2:]
    for match in re.finditer(r"^ {4}(\S.*)$|(?<!`)`([^`\n]+)`", text, flags=re.M):
        yield text.count("\n", 0, match.start()) + 1, match[1] or match[2]


def calls(line):
    """The calls of our programs in a command line: (program, words)."""
    line = re.sub(r"\s#.*", "", line)
    for part in re.split(r"[;|]|&&|\$\(|\bssh \w+\b", line):
        words = part.replace(")", " ").split()
        while words and (re.fullmatch(r"\w+=\S*|sudo|timeout|\d+|env", words[0])):
            words.pop(0)
        if words and words[0].rsplit("/", 1)[-1] in PROGRAMS:
            yield words[0].rsplit("/", 1)[-1], [word.strip("\"'") for word in words[1:]]


def option_words(argument):
    return [word.split("=", 1)[0] for word in re.split(r"(?<!\\),", argument) if word]


def call_problems(program, words, known):
    commands = known["commands"][program]
    if program == "plyfs" and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        if words[0] not in commands:
            yield f"no such command: plyfs {words[0]}"
        if words[0] == "volume" and len(words) > 1 and re.fullmatch("[a-z]+", words[1]) and words[1] not in commands:
            yield f"no such command: plyfs volume {words[1]}"
    for position, word in enumerate(words):
        if word == "--" or (words[0] == "unshare" and position > 0):
            break  # what follows is another program's
        name = word.split("=", 1)[0]
        if re.fullmatch(r"--?[a-zA-Z][-\w]*", name) and name not in known["options"][program]:
            yield f"no such option: {program} {name}"
        if word == "-o" and words[0] not in ("volume",) and position + 1 < len(words) and program == "plyfs":
            for option in option_words(words[position + 1]):
                if re.fullmatch(r"[a-z_+-]+", option) and option not in known["words"]:
                    yield f"no such word of -o: {option}"


def example_problems(page, text, known):
    for number, line in code_of(text):
        for program, words in calls(line):
            for problem in call_problems(program, words, known):
                yield f"{page}:{number}: {problem}"


def option_table_problems(known):
    text = sources.read("src/docs/options.md")
    told = set()
    for line in text.splitlines():
        if line.startswith("| `"):
            told |= {option for code in re.findall(r"`([^`]+)`", line.split(" | ")[0]) for option in option_words(code)}
    last = text[text.index("## Of FUSE"):]
    told |= {code.split("=")[0] for code in re.findall(r"`([^`]+)`", last[:last.index(" are as fuse(8)")])}
    man = known["words"]
    yield from (f"src/docs/options.md: {word} is in plyfs-mount(5) only" for word in sorted(man - told))
    yield from (f"src/docs/options.md: {word} is not in plyfs-mount(5)" for word in sorted(told - man))


# ---- messages ----------------------------------------------------------------------------------

def all_literals():
    """The text of every string literal of the programs; neighbours are one."""
    found = []
    for path in sources.find(".cpp", ".h"):
        if path.startswith(("src/", "tools/", "include/")):
            text = sources.without_comments(sources.read(path))
            text = re.sub(r'"\s*\n\s*"', "", text)
            found += re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)
    return "\n".join(found)


def message_problems(literals):
    page = "src/docs/troubleshooting.md"
    for number, line in enumerate(sources.read(page).splitlines(), 1):
        cell = re.match(r"\| `([^`]+)`", line)
        if not cell:
            continue
        for part in re.split(r"\.\.\.|: |; |…", cell[1]):
            part = part.strip()
            if len(part.split()) > 2 and part not in ERRNO_WORDS and part not in literals and "umount" not in cell[1][:7]:
                yield f"{page}:{number}: no such message in the sources: {part}"


# ---- the rest ----------------------------------------------------------------------------------

def decision_problems():
    page = "src/DECISIONS.md"
    text = sources.read(page)
    head = text.partition("\n## D-")[0]
    records = re.findall(r"^## (D-\d+) ", text, flags=re.M)
    listed = re.findall(r"^\| \[?(D-\d+)\b", head, flags=re.M)
    yield from (f"{page}: {name} is not in the index at the top: add a row with its status" for name in records if name not in listed)
    yield from (f"{page}: the index has {name}, of which there is no record" for name in listed if name not in records)
    yield from (f"{page}: {name} stands twice" for name in sorted(set(records)) if records.count(name) > 1)
    yield from (f"{page}: the index has {name} twice" for name in sorted(set(listed)) if listed.count(name) > 1)


def picture_problems():
    script = os.path.join(sources.ROOT, "tools/lib/picture.py")
    drawn = subprocess.run([sys.executable, "-B", script], capture_output=True, text=True, check=True).stdout
    if drawn != sources.read("src/docs/layers.svg"):
        yield "src/docs/layers.svg: not what tools/lib/picture.py draws"


def comment_problems(path, text):
    for match in re.finditer(r"\b(docs/[\w/-]+\.md)\b", text):
        if not os.path.exists(os.path.join(sources.ROOT, "src", match[1])):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: there is no src/{match[1]}"


STUMBLING = re.compile(r"\belsewise\b|\bto programs\b.*\bis done\b|^\s*/// As [a-z_]+\(\)\.$|"
                       r"\b(?:to|for|by|than) who (?:may|is|has|had|can|takes|waits|writes|asks|calls)\b")


def english_problems(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        if match := STUMBLING.search(line):
            yield f"{path}:{number}: say it more plainly: {match[0].strip()}"


def main():
    report = sources.Report()
    literals = all_literals()
    known = {"commands": {name: known_commands(name, literals) for name in PROGRAMS},
             "options": {name: known_options(name, literals) for name in PROGRAMS}, "words": known_words()}
    for page in pages():
        text = sources.read(page)
        report.check(link_problems(page, text))
        report.check(example_problems(page, text, known))
        report.check(english_problems(page, text))
    report.check(readme_problems(sources.read("README.md")))
    report.check(option_table_problems(known))
    report.check(message_problems(literals))
    report.check(decision_problems())
    report.check(picture_problems())
    for path in sources.find(".h", ".cpp", ".py", ".sh"):
        if not path.endswith("docs_test.py"):
            text = sources.read(path)
            report.check(list(comment_problems(path, text)) + list(english_problems(path, text)))
    report.finish()


if __name__ == "__main__":
    main()
