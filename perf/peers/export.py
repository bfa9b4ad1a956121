# SPDX-License-Identifier: MIT
"""Files for other programs."""
import csv
import json

COLUMNS = ("shape", "peer", "threads", "status", "reason", "pairs", *(
    f"{what}_{which}" for what in ("libsa_s", "peer_s", "ratio", "libsa_share")
    for which in ("quarter", "median", "three_quarters")), "ratio_best", "libsa_share_best", "fastest_peer")


def write_json(path, measured):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(measured, file, indent=1)
        file.write("\n")


def write_csv(path, compared):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for c in compared:
            writer.writerow([c.shape, c.peer, c.threads, c.status, c.reason, c.n_pairs, *figures(c), int(c.best)])


def figures(c):
    if not c.ratio:
        return [""] * 14
    return [f"{x:.6g}" for x in (*c.libsa_s, *c.peer_s, *c.ratio, *c.share, c.ratio_best, c.share_best)]
