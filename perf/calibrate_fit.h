/* SPDX-License-Identifier: MIT */
/* Least squares with weights that are not negative. */
#ifndef SA_CALIBRATE_FIT_H
#define SA_CALIBRATE_FIT_H

enum { FIT_MAX_COLUMNS = 16 };

/* Finds x >= 0 that makes the sum of ((row . x) / y - 1)^2 over n rows small. `rows` holds n rows of n_columns numbers;
 * y > 0. A column that is zero everywhere gets 0. */
void fit_relative(const double *rows, const double *y, int n, int n_columns, double *x);

#endif
