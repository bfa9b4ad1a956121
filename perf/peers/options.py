# SPDX-License-Identifier: MIT
"""The command line. Standard library only: it is read before anything is installed."""
import argparse
import os
import pathlib

from peers import registry, shapes

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent

DESCRIPTION = """libsa beside what else computes attention on a CPU: the same shapes and data, call by call in turns.
Builds libsa, installs the peers into a virtual environment outside the tree, prints a table and draws a plot.
perf/peers/README.md says what is compared how."""


def default_venv():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "libsa", "peers")


def list_of(convert):
    def parse(text):
        return [convert(item) for item in text.split(",")]
    return parse


def peer_name(text):
    if text not in registry.PEERS:
        raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(registry.PEERS)}")
    return text


def positive(text):
    if not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"'{text}' is not 1 to 1024")
    return int(text)


def names(layer):
    return ",".join(name for name, entry in registry.PEERS.items() if entry.layer == layer)


def make_parser():
    parser = argparse.ArgumentParser(prog="perf/peers/run", description=DESCRIPTION, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="exit status: 0 measured, 1 a result of libsa was wrong or nothing could "
                                            "be measured, 2 usage")
    add = parser.add_argument
    add("--shapes", metavar="FILE", action="append", default=[],
        help="shapes, one a line, as in perf/README.md; a bare name is a file of perf/shapes (peers.txt); "
             "'models', 'decode', 'types' and 'layer': peers-models.txt, ...")
    add("--shape", metavar="LINE", action="append", default=[],
        help="one shape, e.g. 'mine heads=12 nq=512 d=64 causal'; a bare name is one of any peers*.txt, or 'tiny'")
    add("--peers", metavar="NAME,...", type=list_of(peer_name),
        help=f"default: {names(layer=False)}; with model=D in a shape, the whole layer, {names(layer=True)}")
    add("--threads", metavar="N,...", type=list_of(positive), default=[1], help="threads of everyone (1)")
    add("--repeats", metavar="N", type=positive, default=7, help="pairs of calls of each shape and peer, at least (7)")
    add("--seconds", metavar="S", type=float, default=2.0,
        help="go on with pairs for this long for each shape and peer (2)")
    add("--csv", metavar="FILE", help="one line for each shape, peer and number of threads")
    add("--json", metavar="FILE", help="the same with every sample")
    add("--png", metavar="FILE", default=str(PROJECT / "build" / "peers.png"), help="the plot (build/peers.png)")
    add("--venv", metavar="DIR", default=default_venv(), help="the virtual environment (%(default)s)")
    add("--no-install", action="store_true", help="take the virtual environment as it is")
    add("--plan", action="store_true", help=argparse.SUPPRESS)  # for the script: what to install, and where
    return parser


def find_shape(text):
    if len(text.split()) != 1:
        return shapes.parse_line(text, "--shape")
    files = sorted(shapes.SHAPES.glob("peers*.txt"))
    known = {shape.name: shape for shape in [shapes.parse_line(shapes.TINY, "tiny"),
                                             *(shape for file in files for shape in shapes.read_file(file))]}
    if text not in known:
        raise shapes.ShapeError(f"--shape: '{text}' is none of {', '.join(known)}")
    return known[text]


def chosen_shapes(options):
    if not options.shapes and not options.shape:
        return shapes.read_file("peers.txt")
    chosen = [shape for path in options.shapes for shape in shapes.read_file(path)]
    chosen += [find_shape(text) for text in options.shape if text.strip()]
    names = [shape.name for shape in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not chosen:
        raise shapes.ShapeError(f"two shapes named {', '.join(twice)}" if twice else "no shapes")
    return chosen


def parse(arguments):
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        options.chosen = chosen_shapes(options)
    except shapes.ShapeError as error:
        parser.error(str(error))
    kinds = {shape.is_layer() for shape in options.chosen}
    options.peers = options.peers or [name for name, entry in registry.PEERS.items() if entry.layer in kinds]
    return options


def print_plan(options):
    """Lines of words for the script: the directory, whether to install, what to build, and NAME PACKAGE... for each
    peer."""
    print(options.venv)
    print("keep" if options.no_install else "install")
    print("sa", "sa_bench", *["sa_layer"] * any(registry.PEERS[name].layer for name in options.peers))
    print("base", *registry.BASE)
    for name in options.peers:
        print(name, *registry.PEERS[name].packages)
