/* SPDX-License-Identifier: MIT */
/* The contract of kernels.h, written out one number at a time: what every kernel's bits are compared with. */
#ifndef SA_TESTS_KERNEL_SCALAR_H
#define SA_TESTS_KERNEL_SCALAR_H

#include "kernels/kernels.h"

extern const struct sa_kernels kernel_scalar;

/* 2^x for x <= 0, as the weights have it. */
float scalar_exp2(float x);

/* A score with a term, as kernels.h has it. */
float scalar_softcap(float s, float cap);
float scalar_alibi(float s, float slope, int32_t q_at, int32_t k_at);
float scalar_bias(float s, float bias);

#endif
