/* SPDX-License-Identifier: MIT */
/* Dice that roll the same on every machine: splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
#ifndef BENCH_DICE_H
#define BENCH_DICE_H

#include <stdint.h>

struct bench_dice {
    uint64_t state;
};

static inline uint64_t bench_roll(struct bench_dice *dice) {
    uint64_t x = dice->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* About standard normal: four 16-bit uniforms, centred and scaled to variance 1; |x| < 3.5. */
static inline float bench_roll_normal(struct bench_dice *dice) {
    const uint64_t x = bench_roll(dice);
    const int32_t sum =
        (int32_t)(x & 0xffff) + (int32_t)(x >> 16 & 0xffff) + (int32_t)(x >> 32 & 0xffff) + (int32_t)(x >> 48);
    return (float)(sum - 2 * 0xffff) * (1.7320508f / 65536.0f);
}

#endif
