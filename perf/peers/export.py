# SPDX-License-Identifier: MIT
"""Files for other programs."""
import csv
import json

COLUMNS = ("shape", "peer", "threads", "status", "reason", "pairs", *(
    f"{what}_{which}" for what in ("libsa_s", "peer_s", "ratio", "libsa_share")
    for which in ("quarter", "median", "three_quarters")), "fastest_peer")


def write_json(path, measured):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(measured, file, indent=1)
        file.write("\n")


def write_csv(path, compared):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for c in compared:
            triples = [f"{x:.6g}" for t in (c.libsa_s, c.peer_s, c.ratio, c.share) for x in t] if c.ratio else [""] * 12
            writer.writerow([c.shape, c.peer, c.threads, c.status, c.reason, c.n_pairs, *triples, int(c.best)])
