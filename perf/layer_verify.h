/* SPDX-License-Identifier: MIT */
/* Is what sa_layer_forward() computes the layer? */
#ifndef LAYER_VERIFY_H
#define LAYER_VERIFY_H

#include "layer_case.h"

/* Computes the case with this engine into NaN and compares some rows of the first and the last sequence with float64.
 * The largest error as a share of what it may be; -1, with the reason on stderr: it is wrong, or there is no memory.
 *
 * The roundings of a product over thousands of dimensions are bounded by far more than y. So they are taken as random
 * and independent (Higham and Mary, SIAM J. Sci. Comput. 41, 2019): a chain of n products with sum s adds a standard
 * deviation of no more than u sqrt(n sum product^2), deviations are carried through the steps that follow, and y may be
 * off by eight of them. This must be less than a hundredth of y, or the check could not fail. */
double layer_verify(const struct layer_case *c, sa_engine *engine);

#endif
