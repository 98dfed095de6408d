#!/usr/bin/env python3
"""Draws the picture of the README: layers, the upper and a volume, and what a program sees of them.

  picture.py > src/docs/layers.svg

One column is one path. A box in a row says what that layer holds at the path; the row of the merged
tree says which of the boxes a program sees. tests/lint/docs_test.py compares the file with this.
"""
from html import escape

LEFT, TOP = 236, 44
COLUMN, ROW = 118, 62
BOX_WIDTH, BOX_HEIGHT = 102, 34

PATHS = ("/bin/sh", "/etc/motd", "/etc/issue", "/opt/hello", "/tmp/new")
VOLUME = "/srv/www"

# What lies in a box, by path, and its kind (a class of the style sheet).
ROWS = (
    ("merged", "the tree that programs see",
     {"/bin/sh": ("sh", "lower"), "/etc/motd": ("motd, changed", "upper"), "/etc/issue": ("not there", "none"),
      "/opt/hello": ("hello 1.1", "lower"), "/tmp/new": ("new", "upper")}),
    ("upper", "writable: every change lands here",
     {"/etc/motd": ("copy, changed", "upper"), "/etc/issue": ("whiteout", "whiteout"), "/tmp/new": ("new", "upper")}),
    ("lower, the topmost", "read-only",
     {"/opt/hello": ("hello 1.1", "lower")}),
    ("lower, the base", "read-only",
     {"/bin/sh": ("sh", "lower"), "/etc/motd": ("motd", "hidden"), "/etc/issue": ("issue", "hidden"),
      "/opt/hello": ("hello 1.0", "hidden")}),
)
NOTES = {"/etc/motd": "copied up", "/etc/issue": "deleted", "/opt/hello": "the top one wins", "/tmp/new": "created",
         "/bin/sh": "shines through"}

STYLE = """
  text { font: 13px system-ui, "DejaVu Sans", Arial, sans-serif; fill: #1f2933; }
  .path { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; text-anchor: middle; fill: #52606d; }
  .in { text-anchor: middle; font-size: 12px; }
  .name { font-weight: 600; }
  .small { font-size: 11px; fill: #52606d; }
  .note { font-size: 11px; fill: #52606d; text-anchor: middle; font-style: italic; }
  .page { fill: #ffffff; stroke: #cbd2d9; }
  .row-merged { fill: #f5f7fa; } .row-upper { fill: #fff4e0; } .row-lower { fill: #e6f0fa; } .row-volume { fill: #e7f6ec; }
  .upper { fill: #ffd591; stroke: #c77700; } .lower { fill: #b9d6f2; stroke: #2f6fb0; }
  .hidden { fill: #eef3f8; stroke: #9fb3c8; stroke-dasharray: 4 3; }
  .whiteout { fill: #ffffff; stroke: #c0392b; stroke-width: 1.5; } .none { fill: none; stroke: #9aa5b1; stroke-dasharray: 2 4; }
  .volume { fill: #a9e0bd; stroke: #2b8a4b; }
  .up { stroke: #52606d; stroke-width: 1.3; fill: none; marker-end: url(#tip); }
"""


def rectangle(kind, x, y, width, height, radius=6):
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'


def label(kind, x, y, words):
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(words)}</text>'


def arrow(x, begin, end):
    return f'<path class="up" d="M{x} {begin}V{end}"/>'


def middle(column):
    return LEFT + column * COLUMN + COLUMN // 2


def box(column, row, words, kind):
    x, y = middle(column) - BOX_WIDTH // 2, TOP + row * ROW + (ROW - 6 - BOX_HEIGHT) // 2
    drawn = [rectangle(kind, x, y, BOX_WIDTH, BOX_HEIGHT, 4), label("in", x + BOX_WIDTH // 2, y + 21, words)]
    if kind == "whiteout":
        drawn.append(f'<path stroke="#c0392b" d="M{x + 5} {y + 5}l10 10m0 -10l-10 10"/>')
    return drawn


def draw_rows(width):
    drawn = []
    for row, (name, remark, boxes) in enumerate(ROWS):
        y = TOP + row * ROW
        drawn += [rectangle(f"row-{name.split(',')[0]}", 16, y, width, ROW - 6),
                  label("name", 28, y + 24, name), label("small", 28, y + 42, remark)]
        for column, path in enumerate(PATHS):
            if path in boxes:
                drawn += box(column, row, *boxes[path])
    return drawn


def draw_arrows():
    """From the box that is seen up to the merged tree."""
    drawn = []
    for column, path in enumerate(PATHS):
        holders = [row for row, (_, _, boxes) in enumerate(ROWS) if row > 0 and path in boxes]
        gap = (ROW - 6 - BOX_HEIGHT) // 2
        drawn.append(arrow(middle(column), TOP + holders[0] * ROW + gap, TOP + ROW - 6 - gap + 4))
    return drawn


def draw_volume(width):
    column = len(PATHS)
    x = LEFT + column * COLUMN + 14
    middle_x = x + COLUMN // 2
    bottom = TOP + len(ROWS) * ROW - 6
    height = bottom - TOP - ROW
    return [rectangle("row-volume", x, TOP + ROW, COLUMN, height),
            label("path", middle_x, TOP - 12, VOLUME),
            rectangle("volume", x + 8, TOP + 11, BOX_WIDTH, BOX_HEIGHT, 4), label("in", middle_x, TOP + 32, "index.html"),
            rectangle("volume", x + 8, TOP + ROW + 74, BOX_WIDTH, BOX_HEIGHT, 4),
            label("in", middle_x, TOP + ROW + 95, "index.html"),
            label("in name", middle_x, TOP + ROW + 26, "volume"),
            label("note", middle_x, TOP + ROW + 44, "a directory"), label("note", middle_x, TOP + ROW + 58, "of the host"),
            label("note", middle_x, TOP + ROW + 128, "past the layers,"), label("note", middle_x, TOP + ROW + 142, "shared, no copy-up"),
            arrow(middle_x, TOP + ROW, TOP + 49)]


def picture():
    rows_width = LEFT + len(PATHS) * COLUMN - 16
    width, height = rows_width + COLUMN + 48, TOP + len(ROWS) * ROW + 34
    drawn = [rectangle("page", 0.5, 0.5, width - 1, height - 1, 8)]
    drawn += draw_rows(rows_width) + draw_arrows() + draw_volume(rows_width)
    for column, path in enumerate(PATHS):
        drawn += [label("path", middle(column), TOP - 12, path),
                  label("note", middle(column), TOP + len(ROWS) * ROW + 14, NOTES[path])]
    head = ('<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="#52606d"/></marker>')
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>Layers, the upper and a volume, and the merged tree that programs see</title>",
        f"<style>{STYLE}</style>", f"<defs>{head}</defs>", *drawn, "</svg>", ""])


if __name__ == "__main__":
    print(picture(), end="")
