# SPDX-License-Identifier: MIT
"""Which shapes are measured, and which of a preset are left out because the time is too short."""
from pathlib import Path

SHAPES = Path(__file__).resolve().parents[2] / "perf" / "shapes"


def preset_lines(presets):
    """The lines of the presets' files that are shapes."""
    lines = []
    for preset in dict.fromkeys(presets):
        for line in (SHAPES / f"{preset}.txt").read_text().splitlines():
            if line.partition("#")[0].strip():
                lines.append(line)
    return lines


def name_of(line):
    return line.split()[0]


def cost(seconds, visit_seconds):
    """Of one run of the bench on a shape whose calls take so long: calls to begin with, then the visit."""
    begin = seconds * (1 if seconds > 0.1 else 2)
    visit = max(visit_seconds, 2 * seconds if seconds < visit_seconds else seconds)
    return begin + visit


def thin(lines, seconds_of, budget, visit_seconds):
    """Keeps the shortest shapes that fit into the budget together, three at least, in their order.
    Returns the lines kept and the names left out. What was not measured (no memory for it) is left out silently: the
    bench has said so."""
    known = [line for line in lines if name_of(line) in seconds_of]
    kept, total = set(), 0.0
    for line in sorted(known, key=lambda line: seconds_of[name_of(line)]):
        total += cost(seconds_of[name_of(line)], visit_seconds)
        if len(kept) < 3 or total <= budget:
            kept.add(line)
    return [line for line in known if line in kept], [name_of(line) for line in known if line not in kept]


def arguments(lines, options, directory):
    """The bench's arguments for the preset lines (put into a file) and the user's own shapes."""
    words = []
    if lines:
        path = directory / "shapes.txt"
        title = "# Written by scripts/tune_threads: what it measured of the presets."
        path.write_text("\n".join([title, *lines, ""]))
        words += ["--shapes", str(path)]
    for file in options.shapes:
        words += ["--shapes", file]
    for line in options.shape:
        words += ["--shape", line]
    return words
