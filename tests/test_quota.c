/* SPDX-License-Identifier: MIT */
/* CPU quotas of control groups, read from trees of files such as Linux shows them. */
#include "quota.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inside.h"

/* ---------------------------------------------------------------- a tree in a temporary directory */

enum { PATH_BYTES = 4096 };

static char root[PATH_BYTES];

static void make_root(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/sa_quota_XXXXXX", tmp && strlen(tmp) < 256 ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_root(void) { nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

/* What the test before left, if it failed. */
static void empty_root(void) {
    remove_root();
    ck_assert_int_eq(mkdir(root, 0700), 0);
}

/* Writes a file below the root and the directories it stands in. */
static void put(const char *path, const char *text) {
    char full[2 * PATH_BYTES];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = 0;
        mkdir(full, 0700);
    }
    FILE *file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

#define ROOT_MOUNT "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
#define PROC_MOUNT "24 23 0:5 / /proc rw,nosuid - proc proc rw\n"

/* mountinfo with one mount of version 2, `mounted` of its directories at /sys/fs/cgroup; the process's own group. */
static void put_v2(const char *mounted, const char *group) {
    char text[PATH_BYTES];
    snprintf(text, sizeof text,
             ROOT_MOUNT PROC_MOUNT
             "31 23 0:27 %s /sys/fs/cgroup rw,nosuid,nodev shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n",
             mounted);
    put("/proc/self/mountinfo", text);
    snprintf(text, sizeof text, "0::%s\n", group);
    put("/proc/self/cgroup", text);
}

/* Version 1: hierarchies of their own, cpu and cpuacct share one. */
static void put_v1(const char *mounted, const char *group) {
    char text[PATH_BYTES];
    snprintf(text, sizeof text,
             ROOT_MOUNT "31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
                        "32 23 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                        "33 23 0:29 %s /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
             mounted);
    put("/proc/self/mountinfo", text);
    snprintf(text, sizeof text, "12:cpuset:/elsewhere\n4:cpu,cpuacct:%s\n1:name=systemd:/cpu\n0::/unified\n", group);
    put("/proc/self/cgroup", text);
}

static void put_v1_quota(const char *group, const char *quota, const char *period) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_quota_us", group);
    put(path, quota);
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_period_us", group);
    put(path, period);
}

#define EXPECT(cpus) ck_assert_double_eq(sa_quota_cpus(root), cpus)

/* ---------------------------------------------------------------- version 2 */

START_TEST(v2_one_group) {
    static const struct {
        const char *text;
        double cpus;
    } cases[] = {
        {"max 100000\n", 0},
        {"50000 100000\n", 0.5},
        {"250000 100000\n", 2.5},
        {"100000 50000\n", 2},
        {"0 100000\n", 0},
        {"-1 100000\n", 0},
        {"100000 0\n", 0},
        {"", 0},
        {"\n", 0},
        {"rubbish\n", 0},
        {"100000\n", 0},
        {"100000 rubbish\n", 0},
        {"100000 -100000\n", 0},
        {"max rubbish\n", 0},
        {"nan 100000\n", 0},
    };
    put_v2("/", "/work");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("/sys/fs/cgroup/work/cpu.max", cases[i].text);
        double cpus = sa_quota_cpus(root);
        ck_assert_msg(cpus == cases[i].cpus, "\"%s\" gives %g, expected %g", cases[i].text, cpus, cases[i].cpus);
    }
}
END_TEST

START_TEST(v2_names_with_spaces) {
    put("/proc/self/mountinfo",
        ROOT_MOUNT PROC_MOUNT "31 23 0:27 /a\\040group /sys/fs/c\\134group\\0401 rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/a group/b\n");
    put("/sys/fs/c\\group 1/b/cpu.max", "150000 100000\n");
    EXPECT(1.5);
}
END_TEST

/* The least on the way up counts, wherever it stands; those of sisters and children do not. */
START_TEST(v2_nested_groups) {
    static const char *const paths[] = {"/a/b/c", "/a/b", "/a", ""};
    put_v2("/", "/a/b/c");
    put("/sys/fs/cgroup/a/b/c/d/cpu.max", "10000 100000\n");
    put("/sys/fs/cgroup/a/b/sister/cpu.max", "10000 100000\n");
    EXPECT(0);
    for (int least = 0; least < 4; least++) {
        for (int i = 0; i < 4; i++) {
            char path[PATH_BYTES];
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", paths[i]);
            put(path, i == least ? "150000 100000\n" : i % 2 ? "max 100000\n" : "400000 100000\n");
        }
        EXPECT(1.5);
    }
}
END_TEST

START_TEST(v2_the_root_group) {
    put_v2("/", "/");
    EXPECT(0);
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    EXPECT(3);
}
END_TEST

/* A file above the mount point is nobody's group. */
START_TEST(v2_nothing_above_the_mount) {
    put_v2("/", "/a");
    put("/sys/fs/cpu.max", "10000 100000\n");
    put("/sys/cpu.max", "10000 100000\n");
    put("/cpu.max", "10000 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    EXPECT(2);
}
END_TEST

/* ---------------------------------------------------------------- containers */

/* The container's own group is mounted, and the process stands in it or below. */
START_TEST(container_mounts_its_group) {
    put_v2("/pod/container", "/pod/container");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    EXPECT(2);
    put_v2("/pod/container", "/pod/container/inner");
    EXPECT(2);
    put("/sys/fs/cgroup/inner/cpu.max", "50000 100000\n");
    EXPECT(0.5);
}
END_TEST

/* With a namespace of its own a container sees itself at the root, its mount likewise or by its way out of it. */
START_TEST(container_with_its_own_namespace) {
    put_v2("/", "/");
    put("/sys/fs/cgroup/cpu.max", "120000 100000\n");
    EXPECT(1.2);
    put_v2("/../..", "/");
    EXPECT(1.2);
    put_v2("/", "/../other");
    EXPECT(1.2);
}
END_TEST

/* The group lies outside of what is mounted: only the mount itself is known to hold for the process. */
START_TEST(container_group_outside_the_mount) {
    put_v2("/pod/container", "/elsewhere/group");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/elsewhere/group/cpu.max", "50000 100000\n");
    EXPECT(2);
}
END_TEST

/* A name that only begins like that of the mounted group is another group. */
START_TEST(container_group_with_a_longer_name) {
    put_v2("/pod/container", "/pod/container2/x");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    EXPECT(2);
}
END_TEST

/* ---------------------------------------------------------------- version 1 */

START_TEST(v1_quota_and_period) {
    put_v1("/", "/work");
    EXPECT(0);
    put_v1_quota("/work", "-1\n", "100000\n");
    EXPECT(0);
    put_v1_quota("/work", "150000\n", "100000\n");
    EXPECT(1.5);
    put_v1_quota("/work", "150000\n", "50000\n");
    EXPECT(3);
    put_v1_quota("", "100000\n", "100000\n");
    EXPECT(1);
    put_v1_quota("", "-1\n", "100000\n");
    EXPECT(3);
    put_v1_quota("/work", "150000\n", "rubbish\n");
    EXPECT(0);
    put_v1_quota("/work", "rubbish\n", "100000\n");
    EXPECT(0);
}
END_TEST

START_TEST(v1_a_quota_without_its_period) {
    put_v1("/", "/work");
    put("/sys/fs/cgroup/cpu,cpuacct/work/cpu.cfs_quota_us", "150000\n");
    EXPECT(0);
}
END_TEST

START_TEST(v1_container) {
    put_v1("/docker/0123", "/docker/0123");
    put_v1_quota("", "50000\n", "100000\n");
    EXPECT(0.5);
}
END_TEST

/* The hierarchies of other controllers, whose names cpu begins or ends, are not read. */
START_TEST(v1_cpuset_is_not_cpu) {
    put("/proc/self/mountinfo", ROOT_MOUNT "32 23 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                                           "33 23 0:29 / /sys/fs/cgroup/acct rw - cgroup cgroup rw,cpuacct\n");
    put("/proc/self/cgroup", "12:cpuset:/work\n3:cpuacct:/work\n");
    put("/sys/fs/cgroup/cpuset/work/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/cpuset/work/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/acct/work/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/acct/work/cpu.cfs_period_us", "100000\n");
    EXPECT(0);
}
END_TEST

/* On a machine with both, the cpu controller is in one of them; should both limit, the lesser limit holds. */
START_TEST(both_versions) {
    put_v1("/", "/work");
    put("/sys/fs/cgroup/unified/unified/cpu.max", "200000 100000\n");
    EXPECT(2);
    put_v1_quota("/work", "150000\n", "100000\n");
    EXPECT(1.5);
    put_v1_quota("/work", "900000\n", "100000\n");
    EXPECT(2);
}
END_TEST

/* ---------------------------------------------------------------- what is not there */

START_TEST(missing_files_are_no_limit) {
    EXPECT(0);
    put_v2("/", "/work");
    EXPECT(0);
    put("/sys/fs/cgroup/work/cpu.max", "50000 100000\n");
    EXPECT(0.5);
    put("/proc/self/cgroup", "");
    EXPECT(0);
    put_v2("/", "/work");
    put("/proc/self/mountinfo", "");
    EXPECT(0);
}
END_TEST

/* Lines of any kind, cut off anywhere, and paths longer than anybody reads. */
START_TEST(rubbish_is_no_limit) {
    static const char whole[] = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    struct dice dice = {9};
    put_v2("/", "/work");
    put("/sys/fs/cgroup/work/cpu.max", "50000 100000\n");
    for (size_t n = 0; n < sizeof whole; n++) {
        char cut[sizeof whole];
        snprintf(cut, n + 1, "%s", whole);
        put("/proc/self/mountinfo", cut);
        double cpus = sa_quota_cpus(root);
        ck_assert_msg(cpus == 0 || cpus == 0.5, "cut after %zu: %g", n, cpus);
    }
    for (int i = 0; i < 300; i++) {
        char line[6000];
        size_t n = (size_t)roll_between(&dice, 0, sizeof line - 1);
        for (size_t c = 0; c < n; c++)
            line[c] = roll_one_in(&dice, 3) ? " -:,/\n\t0"[roll(&dice) % 8] : (char)roll_between(&dice, 1, 255);
        line[n] = 0;
        put(roll_one_in(&dice, 2) ? "/proc/self/mountinfo" : "/proc/self/cgroup", line);
        ck_assert_double_ge(sa_quota_cpus(root), 0);
    }
}
END_TEST

START_TEST(long_paths_are_not_read) {
    char group[3000];
    memset(group, 'x', sizeof group - 1);
    for (size_t i = 0; i < sizeof group - 1; i += 100)
        group[i] = '/';
    group[sizeof group - 1] = 0;
    put_v2("/", group);
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    ck_assert(sa_quota_cpus(root) == 0 || sa_quota_cpus(root) == 0.5);
    put_v2(group, "/work");
    ck_assert(sa_quota_cpus(root) == 0 || sa_quota_cpus(root) == 0.5);
}
END_TEST

START_TEST(this_machine_has_a_quota_or_none) {
    double cpus = sa_quota_cpus("");
    ck_assert(cpus >= 0 && cpus < 1e6);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quota");
    TCase *tcase = add_case(suite, "quota");
    tcase_add_unchecked_fixture(tcase, make_root, remove_root);
    tcase_add_checked_fixture(tcase, empty_root, NULL);
    tcase_add_test(tcase, v2_one_group);
    tcase_add_test(tcase, v2_names_with_spaces);
    tcase_add_test(tcase, v2_nested_groups);
    tcase_add_test(tcase, v2_the_root_group);
    tcase_add_test(tcase, v2_nothing_above_the_mount);
    tcase_add_test(tcase, container_mounts_its_group);
    tcase_add_test(tcase, container_with_its_own_namespace);
    tcase_add_test(tcase, container_group_outside_the_mount);
    tcase_add_test(tcase, container_group_with_a_longer_name);
    tcase_add_test(tcase, v1_quota_and_period);
    tcase_add_test(tcase, v1_a_quota_without_its_period);
    tcase_add_test(tcase, v1_container);
    tcase_add_test(tcase, v1_cpuset_is_not_cpu);
    tcase_add_test(tcase, both_versions);
    tcase_add_test(tcase, missing_files_are_no_limit);
    tcase_add_test(tcase, rubbish_is_no_limit);
    tcase_add_test(tcase, long_paths_are_not_read);
    tcase_add_test(tcase, this_machine_has_a_quota_or_none);
    return run_suite(suite);
}
