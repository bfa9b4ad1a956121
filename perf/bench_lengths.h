/* SPDX-License-Identifier: MIT */
/* Lists of sequence lengths: "64,128x4,uniform:1:4096:32:7". */
#ifndef BENCH_LENGTHS_H
#define BENCH_LENGTHS_H

#include <stdbool.h>
#include <stdint.h>

struct bench_lengths {
    int64_t *at;
    int64_t n;
};

/* Items are LENGTH, LENGTHxCOUNT, or uniform:LOW:HIGH:COUNT:SEED, COUNT lengths rolled from LOW .. HIGH. */
bool bench_lengths_parse(struct bench_lengths *lengths, const char *text);
void bench_lengths_free(struct bench_lengths *lengths);

#endif
