/* SPDX-License-Identifier: MIT */
/* What every instruction set must agree on. In a header, since programs around emulated kernels name them otherwise. */
#ifndef SA_TESTS_AGREE_H
#define SA_TESTS_AGREE_H

#include "drawn.h"
#include "engines.h"
#include "reference.h"

/* SA_ISA_AVX512_BF16 and SA_ISA_AMX_BF16 have bits of their own where they multiply pairs of bf16, the latter where it
 * multiplies int8 or pairs of f16. */
static inline bool has_bits_of_its_own(const struct drawn *drawn, int isa) {
    bool pairs = drawn->batch.n_sequences > 0 && reference_in_pairs(&drawn->batch), bytes = false;
    for (int64_t i = 0; i < drawn->batch.n_sequences; i++)
        bytes = bytes || reference_in_bytes(&drawn->batch, &drawn->seqs[i]);
    pairs = pairs && isa >= (drawn->batch.q_type == SA_F16 ? SA_ISA_AMX_BF16 : SA_ISA_AVX512_BF16);
    return pairs || (bytes && isa >= SA_ISA_AMX_BF16);
}

/* The bits are the same on every instruction set of this machine, with 1 to 4 threads that differ by turns. */
static inline void drawn_must_agree(struct drawn *drawn, int turn) {
    float *wanted = NULL;
    size_t n;
    for (int isa = SA_ISA_GENERIC; isa < ISA_END; isa++) {
        sa_engine *engine = engine_with(isa, 1 + (turn + isa) % 4);
        if (!engine || has_bits_of_its_own(drawn, isa)) {
            sa_engine_destroy(engine);
            continue;
        }
        float *got = drawn_compute(drawn, engine, &n);
        if (wanted)
            drawn_must_equal(got, wanted, n, isa_text(isa));
        free(wanted);
        wanted = got;
        sa_engine_destroy(engine);
    }
    free(wanted);
}

#endif
