# SPDX-License-Identifier: MIT
"""Real text to encode: what stands on this machine in many languages, and lines made by hand where tokenizers err."""
import gzip
import itertools
import pathlib
import pydoc_data.topics
import random
import re
import sys

MAN = pathlib.Path("/usr/share/man")
LICENCES = pathlib.Path("/usr/share/common-licenses")

HAND_MADE = [
    "", " ", "\t", "a", ".", "...", "  two  spaces  ", "\u3000ideographic\u3000space", "no\u00a0break\u2003em\u2028line",
    "The animal didn't cross the street because it was too tired.", "UPPER lower MiXeD", "don't can't o'clock 'quoted'",
    "naïve café Ångström façade Žižek señor über Straße", "nai\u0308ve cafe\u0301 A\u030angstro\u0308m", "ǅ Ǆ ĳ ﬁ ﬂ Ⅷ ⅷ ½",
    "İstanbul ISTANBUL ıstanbul", "ΑΒΓ ΌΣΟΣ σοφός Σίσυφος", "Привет, мир! Ёлка и ёж", "שָׁלוֹם עֲלֵיכֶם", "السَّلَامُ عَلَيْكُمْ",
    "漢字とかな", "中文文本，标点。", "日本語のテキスト「引用」", "한국어 텍스트 한글", "混ざったmixed文text", "豈更車", "𠀀𠀁 𪜀",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "👍🏽 👨‍👩‍👧 🇩🇪 smile :-)", "e\u0301\u0323\u0327 stacked", "q\u0323\u0307 q\u0307\u0323",
    "zero\u200bwidth\u200djoin\ufeff soft\u00adhyphen", "bell\x07 escape\x1b[0m delete\x7f next\x85", "replacement \ufffd char",
    "$1,234.56 + 7% = £8 €9 ¥10", "user@example.org https://example.org/a?b=c&d=e#f", "C++ C# F# a_b_c __init__ x->y", "``code''",
    "[CLS] [SEP] [MASK] [PAD] [UNK] [MASK][MASK] [mask] [ MASK ]", "before[SEP]after", "\u2018curly\u2019 \u201cquotes\u201d \u2014 dash",
    "a" * 99, "a" * 100, "a" * 101, "a" * 5000, "é" * 100, "é" * 101, "supercalifragilisticexpialidocious" * 3,
    "word " * 253, "word " * 254, "word " * 255, "word " * 3000, "漢" * 300, "!" * 300, "\u1e9b\u0323", "ſ ẞ ß", "µ μ Ω Ω K K Å Å",
]


def topics():
    for text in pydoc_data.topics.topics.values():
        yield from text.splitlines()


def licences():
    for path in sorted(LICENCES.glob("*")):
        yield from path.read_text(encoding="utf-8", errors="ignore").splitlines()


def manuals(language):
    """The lines of running text of the manuals of a language, without the marks of troff."""
    for path in sorted((MAN / language).glob("man*/*.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="ignore") as file:
            for line in file.read().splitlines():
                if line[:1] not in (".", "'"):
                    yield re.sub(r"\\f.|\\&|\\-|\\", "", line)


def paragraphs(lines, n=12):
    """Some lines in one, which makes many of them longer than they may be."""
    lines = iter(lines)
    while part := list(itertools.islice(lines, n)):
        yield " ".join(part)


def worth(line):
    return len(line.split()) > 3 or any(ord(c) > 0x2E80 for c in line)


def gather(n, seed=1):
    """At least n lines, hand-made ones among them, the same on the same machine."""
    languages = sorted(path.name for path in MAN.glob("*") if len(path.name) in (2, 5) and path.is_dir())
    sources = {"hand": HAND_MADE, "topics": [x for x in topics() if worth(x)],
               "paragraphs": list(paragraphs(x for x in topics() if worth(x))), "licences": [x for x in licences() if worth(x)]}
    sources.update({f"manuals {x}": [y for y in manuals(x) if worth(y)] for x in languages})
    random.seed(seed)
    share = n // max(1, len(sources) - 1)
    lines = []
    for name, source in sources.items():
        taken = source if name == "hand" else random.sample(source, min(len(source), share))
        lines += taken
    lines += random.sample(sources["topics"], max(0, min(len(sources["topics"]), n - len(lines))))
    return [line.replace("\n", " ").encode(errors="ignore").decode() for line in lines]


if __name__ == "__main__":
    sys.stdout.reconfigure(newline="")
    print("\n".join(gather(int(sys.argv[1]))))
