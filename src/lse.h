/* SPDX-License-Identifier: MIT */
#ifndef SA_LSE_H
#define SA_LSE_H

/* m ln 2 + ln l for a maximum m in units of log2 and a sum l, rounded once to float; -inf if l is 0. */
float sa_lse(float m, float l);

/* m ln 2, rounded once, never -0; NaN in a row of NaNs. */
float sa_row_max(float m, float l);

/* e^x for x <= 0, to 2^-51; 0 below -700, NaN for NaN. ln x for x > 0, neither subnormal nor inf, to 4e-14. */
double sa_exp(double x);
double sa_log(double x);

#endif
