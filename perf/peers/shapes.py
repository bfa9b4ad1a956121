# SPDX-License-Identifier: MIT
"""Shape lines, the same as the bench reads (perf/README.md), as batches of sequences of equal lengths."""
import collections
import dataclasses
import pathlib

SHAPES = pathlib.Path(__file__).resolve().parent.parent / "shapes"
BYTES = {"f32": 4, "bf16": 2, "f16": 2}
TINY = "tiny batch=2 heads=4 nq=48 d=32 causal"


class ShapeError(ValueError):
    pass


@dataclasses.dataclass(frozen=True)
class Problem:
    """`batch` sequences of n_q queries and n_k keys each: what one call of a peer computes."""
    batch: int
    heads: int
    kv: int
    n_q: int
    n_k: int
    d: int
    dv: int
    causal: bool
    left: int  # of a window; -1: no limit
    right: int
    sink: int
    offset: int  # position of the first query
    type: str  # of q, k, v and o: "f32", "bf16", "f16"
    model: int  # d_model of the whole layer: from x to y; 0: attention alone
    f16_pairs: bool  # what libsa may do

    def limits(self):
        """What a query at position p sees: keys p - left .. p + right; None: no limit. Limits that never bite are
        left out, so that a peer need not know them: one query at the end of a causal cache sees all keys."""
        first, last = self.offset, self.offset + self.n_q - 1
        right = 0 if self.causal else (self.right if self.right >= 0 else None)
        left = self.left if self.left >= 0 else None
        if right is not None and first + right >= self.n_k - 1:
            right = None
        if left is not None and last - left <= self.sink:
            left = None
        return left, right

    def mask(self):
        """"none": all keys are visible; "square": causal, as many queries as keys; "end": causal, the last query
        stands at the last key; "other"."""
        left, right = self.limits()
        if left is None and right is None:
            return "none"
        if left is not None or right != 0 or self.offset != self.n_k - self.n_q:
            return "other"
        return "square" if self.n_q == self.n_k else "end"

    def span(self, i):
        """(low, high): query i sees keys low .. high - 1, and those before min(sink, high)."""
        left, right = self.limits()
        position = self.offset + i
        high = self.n_k if right is None else min(self.n_k, position + right + 1)
        low = 0 if left is None else position - left
        return max(0, min(low, self.n_k)), max(0, high)

    def pairs(self):
        """Visible (query, key) pairs, all heads and sequences counted."""
        total = 0
        for i in range(self.n_q):
            low, high = self.span(i)
            total += max(0, high - low) + min(self.sink, low, high)
        return total * self.heads * self.batch

    def flops(self):
        return 2 * self.pairs() * (self.d + self.dv) + 2 * self.batch * self.n_q * self.weights()

    def widths(self):
        """Of a token: elements of q, of k, of v, all heads side by side."""
        return self.heads * self.d, self.kv * self.d, self.kv * self.dv

    def weights(self):
        """Elements of the layer's matrices."""
        return self.model * (sum(self.widths()) + self.heads * self.dv)

    def seen_keys(self):
        """Keys that some query sees, of all kv heads and sequences."""
        (low, _), (_, high) = self.span(0), self.span(self.n_q - 1)
        return max(0, high - low + min(self.sink, low)) * self.kv * self.batch

    def kv_bytes(self):
        return self.seen_keys() * (self.d + self.dv) * BYTES[self.type]


@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    line: str
    problems: tuple  # one for each pair of lengths
    token_major: bool  # [token][head][d] for libsa; each peer has the layout it is best at
    special: tuple = ()  # keys that no peer knows: the shape is the bench's only

    def flops(self):
        return sum(problem.flops() for problem in self.problems)

    def kv_bytes(self):
        return sum(problem.kv_bytes() for problem in self.problems)

    def is_layer(self):
        return self.problems[0].model > 0

    def is_decode(self):
        """The bench's rule (bench_count.c): memory limits it, not arithmetic."""
        if any(problem.n_q >= problem.n_k and problem.n_q > 1 for problem in self.problems):
            return False
        return sum(p.pairs() for p in self.problems) <= 16 * sum(p.seen_keys() for p in self.problems)


# ---- lengths ----

MASK64 = 2**64 - 1


def roll(low, high, count, seed):
    """The bench's dice (bench_dice.h), so that the same line means the same lengths."""
    lengths = []
    for i in range(1, count + 1):
        x = (seed + i * 0x9E3779B97F4A7C15) & MASK64
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK64
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK64
        lengths.append(low + (x ^ x >> 31) % (high - low + 1))
    return lengths


def parse_lengths(text):
    lengths = []
    for item in text.split(","):
        if item.startswith("uniform:"):
            low, high, count, seed = map(int, item.split(":")[1:])
            lengths += roll(low, high, count, seed)
        else:
            length, _, count = item.partition("x")
            lengths += [int(length)] * int(count or 1)
    if min(lengths) < 1:
        raise ValueError
    return lengths


# ---- a line ----

def parse_window(text):
    left, right = map(int, text.split(","))
    if min(left, right) < -1:
        raise ValueError
    return left, right


def parse_layout(text):
    return {"bhsd": False, "bshd": True}[text]


def parse_type(text):
    if text not in BYTES:
        raise ValueError
    return text


def parse_count(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


KEYS = {"lens": parse_lengths, "qlens": parse_lengths, "window": parse_window, "layout": parse_layout,
        "offset": int, "sink": int, "type": parse_type, "kv_type": str, "o_type": str}
KEYS.update(dict.fromkeys(("heads", "kv", "d", "dv", "nq", "nk", "batch", "page", "model"), parse_count))
FLAGS = ("causal", "warm", "parts", "f16_pairs")
SPECIAL = ("kv_type", "o_type", "page")


def parse_words(words, where):
    values = {}
    for word in words:
        key, equals, text = word.partition("=")
        if word in FLAGS:
            values[word] = True
            continue
        if not equals or key not in KEYS:
            raise ShapeError(f"{where}: '{word}': expected {', '.join(FLAGS)} or {', '.join(KEYS)} with a value")
        try:
            values[key] = KEYS[key](text)
        except (ValueError, KeyError):
            raise ShapeError(f"{where}: '{word}': bad value") from None
    return values


def check(values, where):
    heads = values.get("heads", 1)
    problem = None
    if "d" not in values:
        problem = "d is missing"
    elif not {"nq", "nk", "lens"} & set(values):
        problem = "no lengths: nq, nk or lens is missing"
    elif "lens" in values and "nk" in values:
        problem = "lens and nk exclude each other"
    elif "qlens" in values and ("nq" in values or len(values["qlens"]) != len(values.get("lens", []))):
        problem = "qlens needs as many lens, and no nq"
    elif heads % values.get("kv", heads) != 0:
        problem = "heads must be a multiple of kv"
    elif "model" in values and ({"nk", "qlens", "offset"} & set(values) or {"nq", "lens"} <= set(values)):
        problem = "a layer (model) has as many queries as keys"
    elif "model" in values and values.get("type", "f32") != "f32":
        problem = "a layer (model) is compared in f32 only"
    if problem:
        raise ShapeError(f"{where}: {problem}")


def sequence_lengths(values):
    n_ks = values.get("lens") or [values.get("nk", values.get("nq"))]
    n_qs = values.get("qlens") or [values.get("nq", n_k) for n_k in n_ks]
    return list(zip(n_qs, n_ks))


def parse_line(line, where):
    name, *words = line.split()
    if "=" in name:
        raise ShapeError(f"{where}: '{name}': a shape begins with its name")
    values = parse_words(words, where)
    check(values, where)
    heads, d = values.get("heads", 1), values["d"]
    left, right = values.get("window", (-1, -1))
    counts = collections.Counter(sequence_lengths(values))
    problems = tuple(
        Problem(batch=count * values.get("batch", 1), heads=heads, kv=values.get("kv", heads), n_q=n_q, n_k=n_k, d=d,
                dv=values.get("dv", d), causal=values.get("causal", False), left=left, right=right,
                sink=values.get("sink", 0), offset=values.get("offset", n_k - n_q), type=values.get("type", "f32"),
                model=values.get("model", 0), f16_pairs=values.get("f16_pairs", False))
        for (n_q, n_k), count in counts.items())
    special = tuple(key for key in SPECIAL if key in values)
    return Shape(name, line.strip(), problems, values.get("layout", False), special)


def read_file(path):
    """A bare name is a file of perf/shapes unless it lies here; without an ending, one made for the peers."""
    file = pathlib.Path(path)
    if not file.exists() and "/" not in str(path):
        file = SHAPES / (path if file.suffix else f"peers-{path}.txt")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ShapeError(f"{path}: {error.strerror}") from None
    stripped = [(number, line.split("#")[0].strip()) for number, line in enumerate(lines, 1)]
    return [parse_line(line, f"{path}:{number}") for number, line in stripped if line]
