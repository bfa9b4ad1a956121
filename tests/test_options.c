/* SPDX-License-Identifier: MIT */
/* Copy-in of versioned structs, options and environment, and the choice of kernels that follows from them. */
#include "options.h"

#include <stddef.h>
#include <stdlib.h>

#include "cpu.h"
#include "each_kernel.h"
#include "inside.h"

/* ---------------------------------------------------------------- copying structs in and out */

struct sample {
    size_t struct_size;
    int32_t a, b;
};

/* What a caller has whose header is newer than the library. */
struct newer {
    struct sample sample;
    int64_t c[3];
};

START_TEST(a_struct_is_copied_in) {
    struct sample from = {sizeof from, 3, -4}, to = {0};
    ck_assert_int_eq(sa_copy_in(&to, sizeof to, &from, sizeof from, "sample"), SA_OK);
    ck_assert_mem_eq(&to, &from, sizeof to);
}
END_TEST

START_TEST(a_shorter_struct_is_refused) {
    struct sample from = {0}, to = {7, 7, 7};
    for (size_t bytes = 0; bytes < sizeof from; bytes++) {
        ck_assert_int_eq(sa_copy_in(&to, sizeof to, &from, bytes, "sample"), SA_INVALID);
        ck_assert_ptr_nonnull(strstr(sa_last_reason(), "sample"));
    }
    ck_assert(to.struct_size == 7 && to.a == 7 && to.b == 7);
}
END_TEST

/* Every byte beyond what is known has to be zero; the struct is copied up to there and no further. */
START_TEST(a_longer_struct_is_taken_while_its_rest_is_zero) {
    struct newer from = {.sample = {sizeof from, 3, 4}};
    struct sample to[2] = {{0, 0, 0}, {9, 9, 9}};
    for (size_t bytes = sizeof from.sample; bytes <= sizeof from; bytes++)
        ck_assert_int_eq(sa_copy_in(&to[0], sizeof to[0], &from, bytes, "sample"), SA_OK);
    ck_assert_mem_eq(&to[0], &from.sample, sizeof to[0]);
    ck_assert(to[1].struct_size == 9 && to[1].a == 9 && to[1].b == 9);
    for (size_t at = sizeof from.sample; at < sizeof from; at++) {
        ((unsigned char *)&from)[at] = 1;
        ck_assert_int_eq(sa_copy_in(&to[0], sizeof to[0], &from, sizeof from, "sample"), SA_UNSUPPORTED);
        ck_assert_int_eq(sa_copy_in(&to[0], sizeof to[0], &from, at, "sample"), SA_OK);
        ((unsigned char *)&from)[at] = 0;
    }
}
END_TEST

/* Whatever stands in an uninitialised struct_size, nothing is read far beyond the struct. */
/* An earlier version had no b. */
START_TEST(a_struct_that_has_grown_is_taken_in_its_old_size) {
    struct sample from = {offsetof(struct sample, b), 3, 4}, to = {7, 7, 7};
    for (size_t bytes = 0; bytes <= sizeof from; bytes++) {
        sa_status status =
            sa_copy_in_grown(&to, sizeof to, (const size_t[]){offsetof(struct sample, b), 0}, &from, bytes, "sample");
        ck_assert_int_eq(status, bytes == offsetof(struct sample, b) || bytes == sizeof from ? SA_OK : SA_INVALID);
        if (bytes == offsetof(struct sample, b))
            ck_assert(to.struct_size == from.struct_size && to.a == 3 && to.b == 0);
    }
    ck_assert(to.a == 3 && to.b == 4);
}
END_TEST

START_TEST(an_absurd_size_is_refused) {
    struct sample from = {0}, to;
    const size_t absurd[] = {SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 31, ((size_t)1 << 16) + 1};
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++)
        ck_assert_int_eq(sa_copy_in(&to, sizeof to, &from, absurd[i], "sample"), SA_INVALID);
}
END_TEST

START_TEST(a_struct_is_copied_out) {
    struct sample own = {0, 5, 6};
    struct newer to = {{sizeof to, 1, 1}, {1, 1, 1}};
    ck_assert_int_eq(sa_copy_out(&to, &own, sizeof own, "sample"), SA_OK);
    ck_assert(to.sample.struct_size == sizeof to && to.sample.a == 5 && to.sample.b == 6);
    ck_assert(to.c[0] == 0 && to.c[1] == 0 && to.c[2] == 0); /* fields this version does not know */
    to = (struct newer){{sizeof own, 1, 1}, {1, 1, 1}};
    ck_assert_int_eq(sa_copy_out(&to, &own, sizeof own, "sample"), SA_OK);
    ck_assert(to.sample.a == 5 && to.sample.b == 6 && to.c[0] == 1 && to.c[2] == 1);
    const size_t wrong[] = {0, 8, sizeof own - 1, ((size_t)1 << 16) + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        to = (struct newer){{wrong[i], 1, 1}, {1, 1, 1}};
        ck_assert_int_eq(sa_copy_out(&to, &own, sizeof own, "sample"), SA_INVALID);
        ck_assert(to.sample.struct_size == wrong[i] && to.sample.a == 1 && to.c[0] == 1);
    }
    ck_assert_int_eq(sa_copy_out(NULL, &own, sizeof own, "sample"), SA_INVALID);
}
END_TEST

/* ---------------------------------------------------------------- environment */

static const char *const variables[] = {"OMP_NUM_THREADS", "SA_MAX_ISA",        "SA_VERBOSE",
                                        "OMP_PROC_BIND",   "GOMP_CPU_AFFINITY", "OMP_PLACES"};
enum { N_VARIABLES = sizeof variables / sizeof variables[0] };

static void clear_environment(void) {
    for (int i = 0; i < N_VARIABLES; i++)
        unsetenv(variables[i]);
}

static struct sa_config read_config(const char *name, const char *value) {
    struct sa_config config;
    memset(&config, 0x55, sizeof config);
    if (name)
        setenv(name, value, 1);
    ck_assert_int_eq(sa_options_read(NULL, &config), SA_OK);
    if (name)
        unsetenv(name);
    return config;
}

START_TEST(nothing_said_is_all_defaults) {
    struct sa_config config = read_config(NULL, NULL);
    ck_assert(config.n_threads == 0 && !config.n_threads_source && config.binding == SA_BIND_DEFAULT);
    ck_assert(config.option_max_isa == 0 && config.environment_max_isa == 0);
    ck_assert(!config.openmp_binds && !config.verbose);
}
END_TEST

START_TEST(omp_num_threads_is_read) {
    static const struct {
        const char *text;
        int n_threads; /* 0: as if it were not set */
    } cases[] = {
        {"1", 1},   {"4", 4},     {"4,2", 4},     {"3,2,1", 3},   {" 3", 3},
        {"3 ", 3},  {"3 , 2", 3}, {"1024", 1024}, {"1025", 1024}, {"99999999999999999999", 1024},
        {"+5", 5},  {"007", 7},   {"", 0},        {" ", 0},       {"0", 0},
        {"-1", 0},  {"-4,2", 0},  {"all", 0},     {"4x", 0},      {"x4", 0},
        {"0x4", 0}, {"4.5", 0},   {",", 0},       {",4", 0},      {"4;2", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sa_config config = read_config("OMP_NUM_THREADS", cases[i].text);
        ck_assert_msg(config.n_threads == cases[i].n_threads, "\"%s\" gives %d, expected %d", cases[i].text,
                      config.n_threads, cases[i].n_threads);
        if (cases[i].n_threads)
            ck_assert_str_eq(config.n_threads_source, "OMP_NUM_THREADS");
        else
            ck_assert_ptr_null(config.n_threads_source);
    }
}
END_TEST

START_TEST(sa_max_isa_is_read) {
    static const struct {
        const char *text;
        int isa;
    } cases[] = {{"generic", SA_ISA_GENERIC},
                 {"avx2", SA_ISA_AVX2},
                 {"avx512", SA_ISA_AVX512},
                 {"avx512_bf16", SA_ISA_AVX512_BF16},
                 {"amx_bf16", SA_ISA_AMX_BF16},
                 {"default", 0},
                 {"", 0},
                 {"AVX2", 0},
                 {"avx", 0},
                 {"avx2 ", 0},
                 {"avx5120", 0},
                 {"2", 0},
                 {"sse2", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sa_config config = read_config("SA_MAX_ISA", cases[i].text);
        ck_assert_msg(config.environment_max_isa == cases[i].isa, "\"%s\" gives %d, expected %d", cases[i].text,
                      config.environment_max_isa, cases[i].isa);
        ck_assert_int_eq(config.option_max_isa, 0);
        ck_assert_int_eq(config.max_isa_ignored, !cases[i].isa && cases[i].text[0]);
    }
}
END_TEST

START_TEST(binding_by_openmp_is_noticed) {
    static const char *const names[] = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"};
    for (int i = 0; i < 3; i++) {
        ck_assert(read_config(names[i], "x").openmp_binds);
        ck_assert(!read_config(names[i], "").openmp_binds);
    }
    ck_assert(!read_config("OMP_NUM_THREADS", "2").openmp_binds);
}
END_TEST

START_TEST(verbose_is_any_text_but_0) {
    ck_assert(read_config("SA_VERBOSE", "1").verbose);
    ck_assert(read_config("SA_VERBOSE", "yes").verbose);
    ck_assert(!read_config("SA_VERBOSE", "0").verbose);
    ck_assert(!read_config("SA_VERBOSE", "").verbose);
}
END_TEST

/* ---------------------------------------------------------------- options */

static sa_status read_options(sa_engine_options options, struct sa_config *config) {
    options.struct_size = sizeof options;
    return sa_options_read(&options, config);
}

START_TEST(options_come_before_the_environment) {
    struct sa_config config;
    setenv("OMP_NUM_THREADS", "7", 1);
    setenv("SA_MAX_ISA", "generic", 1);
    ck_assert_int_eq(read_options((sa_engine_options){.n_threads = 3, .max_isa = SA_ISA_AVX2}, &config), SA_OK);
    ck_assert_int_eq(config.n_threads, 3);
    ck_assert_str_eq(config.n_threads_source, "sa_engine_options.n_threads");
    ck_assert_int_eq(config.option_max_isa, SA_ISA_AVX2);
    ck_assert_int_eq(config.environment_max_isa, SA_ISA_GENERIC); /* caps as well: the lesser one holds */
    ck_assert_int_eq(read_options((sa_engine_options){.binding = SA_BIND_SPREAD}, &config), SA_OK);
    ck_assert_int_eq(config.n_threads, 7);
    ck_assert_int_eq(config.binding, SA_BIND_SPREAD);
}
END_TEST

START_TEST(wrong_options_are_refused_by_name) {
    static const struct {
        sa_engine_options options;
        const char *named;
    } cases[] = {
        {{.n_threads = -1}, "n_threads"},
        {{.n_threads = 1025}, "n_threads"},
        {{.n_threads = INT32_MIN}, "n_threads"},
        {{.binding = -1}, "binding"},
        {{.binding = 4}, "binding"},
        {{.max_isa = -1}, "max_isa"},
        {{.max_isa = SA_ISA_AMX_BF16 + 1}, "max_isa"},
        {{.reserved = 1}, "reserved"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sa_config config;
        ck_assert_int_eq(read_options(cases[i].options, &config), SA_INVALID);
        ck_assert_msg(strstr(sa_last_reason(), cases[i].named) != NULL, "%s: %s", cases[i].named, sa_last_reason());
    }
    struct sa_config config;
    ck_assert_int_eq(read_options((sa_engine_options){.n_threads = 1024}, &config), SA_OK);
}
END_TEST

/* What the environment says is about this machine. */
START_TEST(a_topology_is_another_machine) {
    struct sa_config config;
    setenv("OMP_NUM_THREADS", "7", 1);
    setenv("OMP_PROC_BIND", "true", 1);
    ck_assert_int_eq(read_options((sa_engine_options){.topology = "core:4 pu:1"}, &config), SA_OK);
    ck_assert(config.n_threads == 0 && !config.openmp_binds);
    ck_assert_str_eq(config.topology, "core:4 pu:1");
    ck_assert_int_eq(read_options((sa_engine_options){.topology = "core:4 pu:1", .n_threads = 3}, &config), SA_OK);
    ck_assert_int_eq(config.n_threads, 3);
    sa_engine_options old = {.struct_size = offsetof(sa_engine_options, topology), .topology = "not read"};
    ck_assert_int_eq(sa_options_read(&old, &config), SA_OK);
    ck_assert(config.n_threads == 7 && config.openmp_binds && !config.topology);
}
END_TEST

START_TEST(options_have_sizes) {
    struct {
        sa_engine_options options;
        int64_t later;
    } newer = {{.struct_size = sizeof newer, .n_threads = 2}, 0};
    struct sa_config config;
    ck_assert_int_eq(sa_options_read(&newer.options, &config), SA_OK);
    ck_assert_int_eq(config.n_threads, 2);
    newer.later = 1;
    ck_assert_int_eq(sa_options_read(&newer.options, &config), SA_UNSUPPORTED);
    newer.options.struct_size = 0; /* forgotten */
    ck_assert_int_eq(sa_options_read(&newer.options, &config), SA_INVALID);
}
END_TEST

/* ---------------------------------------------------------------- kernels */

START_TEST(names_of_instruction_sets) {
    for (int isa = SA_ISA_GENERIC; isa <= SA_ISA_AMX_BF16; isa++)
        ck_assert_int_eq(sa_isa_of_name(sa_isa_name(isa)), isa);
    ck_assert_str_eq(sa_isa_name(SA_ISA_DEFAULT), "default");
    ck_assert_ptr_null(sa_isa_name(-1));
    ck_assert_ptr_null(sa_isa_name(SA_ISA_AMX_BF16 + 1));
    ck_assert_int_eq(sa_isa_of_name("default"), -1);
}
END_TEST

static bool is_built(int isa) {
    int n;
    const struct sa_kernels *const *table = sa_kernels_table(&n);
    for (int i = 0; i < n; i++)
        if (table[i]->isa == isa)
            return true;
    return false;
}

/* Why `isa` may not be used under these caps. Whether it is slow, or not granted, is the processor's and the system's
 * own affair. */
static enum sa_cpu_cap cap_of(int isa, int option, int environment, enum sa_cpu_cap said) {
    if (!is_built(isa))
        return SA_CPU_CAP_BUILD;
    if (!sa_cpu_runs(isa))
        return SA_CPU_CAP_MACHINE;
    if ((option && isa > option) || (environment && isa > environment))
        return option && isa > option ? SA_CPU_CAP_OPTION : SA_CPU_CAP_ENVIRONMENT;
    const bool slow = said == SA_CPU_CAP_SLOW && isa == SA_ISA_AVX512_BF16 && option != isa && environment != isa;
    return slow || (said == SA_CPU_CAP_SYSTEM && isa == SA_ISA_AMX_BF16) ? said : SA_CPU_CAP_NONE;
}

/* All that are faster than the one chosen are capped, and what is said is the cap of the slowest of these. */
START_TEST(the_fastest_allowed_kernels_are_chosen) {
    for (int option = 0; option <= SA_ISA_AMX_BF16; option++)
        for (int environment = 0; environment <= SA_ISA_AMX_BF16; environment++) {
            const struct sa_cpu_choice choice = sa_cpu_choose(option, environment, true);
            const int isa = choice.kernels->isa;
            ck_assert(isa == SA_ISA_GENERIC || !cap_of(isa, option, environment, SA_CPU_CAP_NONE));
            const bool passed = isa == SA_ISA_AVX512 && choice.faster == SA_ISA_AMX_BF16; /* by one that is slow */
            ck_assert_int_eq(choice.faster, isa == SA_ISA_AMX_BF16 ? 0 : isa + 1 + passed);
            ck_assert((choice.faster == 0) == (choice.why == SA_CPU_CAP_NONE));
            for (int other = isa + 1; other <= SA_ISA_AMX_BF16; other++)
                ck_assert(cap_of(other, option, environment,
                                 other == choice.faster                  ? choice.why
                                 : passed && other == SA_ISA_AVX512_BF16 ? SA_CPU_CAP_SLOW
                                                                         : SA_CPU_CAP_SYSTEM));
            if (choice.faster)
                ck_assert_int_eq(choice.why, cap_of(choice.faster, option, environment, choice.why));
        }
}
END_TEST

/* What is slow is used all the same if it is named. */
START_TEST(what_is_named_is_used) {
    const struct sa_kernels *kernel;
    for (EACH_KERNEL(kernel))
        ck_assert_ptr_eq(sa_cpu_choose(kernel->isa, 0, true).kernels, kernel);
    for (int isa = SA_ISA_GENERIC; isa <= SA_ISA_AVX512_BF16; isa++)
        if (sa_cpu_runs(isa)) {
            ck_assert_int_eq(sa_cpu_choose(isa, 0, true).kernels->isa, isa);
            ck_assert_int_eq(sa_cpu_choose(0, isa, true).kernels->isa, isa);
        }
}
END_TEST

START_TEST(no_processor_runs_what_is_not_there) {
    ck_assert(sa_cpu_runs(SA_ISA_GENERIC));
    ck_assert(!sa_cpu_runs(SA_ISA_DEFAULT) && !sa_cpu_runs(-1) && !sa_cpu_runs(SA_ISA_AMX_BF16 + 1));
    ck_assert(!sa_cpu_runs(SA_ISA_AVX512) || sa_cpu_runs(SA_ISA_AVX2));
    ck_assert(!sa_cpu_runs(SA_ISA_AVX512_BF16) || sa_cpu_runs(SA_ISA_AVX512));
    ck_assert(!sa_cpu_runs(SA_ISA_AMX_BF16) || sa_cpu_runs(SA_ISA_AVX512_BF16));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("options");
    TCase *copy = add_case(suite, "copy");
    tcase_add_test(copy, a_struct_is_copied_in);
    tcase_add_test(copy, a_shorter_struct_is_refused);
    tcase_add_test(copy, a_longer_struct_is_taken_while_its_rest_is_zero);
    tcase_add_test(copy, an_absurd_size_is_refused);
    tcase_add_test(copy, a_struct_that_has_grown_is_taken_in_its_old_size);
    tcase_add_test(copy, a_struct_is_copied_out);
    TCase *environment = add_case(suite, "environment");
    tcase_add_checked_fixture(environment, clear_environment, NULL);
    tcase_add_test(environment, nothing_said_is_all_defaults);
    tcase_add_test(environment, omp_num_threads_is_read);
    tcase_add_test(environment, sa_max_isa_is_read);
    tcase_add_test(environment, binding_by_openmp_is_noticed);
    tcase_add_test(environment, verbose_is_any_text_but_0);
    tcase_add_test(environment, options_come_before_the_environment);
    tcase_add_test(environment, wrong_options_are_refused_by_name);
    tcase_add_test(environment, options_have_sizes);
    tcase_add_test(environment, a_topology_is_another_machine);
    TCase *kernels = add_case(suite, "kernels");
    tcase_add_test(kernels, names_of_instruction_sets);
    tcase_add_test(kernels, the_fastest_allowed_kernels_are_chosen);
    tcase_add_test(kernels, what_is_named_is_used);
    tcase_add_test(kernels, no_processor_runs_what_is_not_there);
    return run_suite(suite);
}
