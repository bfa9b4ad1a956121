/* SPDX-License-Identifier: MIT */
/* The register tiles that a bench is held against multiply what they say. */
#include "tile.h"

#include <sa/sa.h>

#include "inside.h"

START_TEST(tiles_multiply_all_of_it) {
    ck_assert(tile_flops(SA_ISA_GENERIC) == 0 && tile_loop(SA_ISA_GENERIC, 3) == 0);
    for (int isa = SA_ISA_AVX2; isa <= SA_ISA_AMX_BF16; isa++) {
        const double flops = tile_flops(isa), a_lane = 2.0 * 48 * 64;
        ck_assert(flops == 0 || flops == 16 * a_lane || (flops == 32 * a_lane && isa > SA_ISA_AVX2));
        ck_assert(tile_loop(isa, 2) == (flops > 0 ? 64 : 0));
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tile");
    tcase_add_test(add_case(suite, "tiles"), tiles_multiply_all_of_it);
    return run_suite(suite);
}
