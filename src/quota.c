/* SPDX-License-Identifier: MIT */
#include "quota.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Longer paths or lines than these are not looked at; the stack of the caller may be small. */
enum { PATH_BYTES = 1024, LINE_BYTES = 4096 };

/* A cgroup hierarchy that can limit CPU time, as mounted here, and the process's own group in it. */
struct hierarchy {
    bool v2;
    char mounted_at[PATH_BYTES]; /* where it is mounted */
    char mounted[PATH_BYTES];    /* which of its directories is mounted there */
    char group[PATH_BYTES];      /* the process's group */
};

static FILE *open_below(const char *root, const char *path) {
    char full[3 * PATH_BYTES];
    int n = snprintf(full, sizeof full, "%s%s", root, path);
    return n > 0 && (size_t)n < sizeof full ? fopen(full, "re") : NULL;
}

/* Is `word` one of the comma-separated words of `list`? */
static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
        if ((at == list || at[-1] == ',') && (at[n] == 0 || at[n] == ',' || at[n] == '\n'))
            return true;
    return false;
}

/* Spaces and the like stand there as a backslash and three octal digits. */
static void unescape(char *text) {
    char *to = text;
    for (const char *at = text; *at; to++) {
        const bool escaped = at[0] == '\\' && strspn(at + 1, "01234567") >= 3;
        const int octal = escaped ? (at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0') : 0;
        *to = *at;
        if (escaped)
            *to = (char)octal;
        at += escaped ? 4 : 1;
    }
    *to = 0;
}

/* A line of mountinfo: "id parent dev root mount-point options - type source super-options". */
static bool read_mount(const char *line, struct hierarchy *h, bool v2) {
    char type[32], super[256];
    const char *dash = strstr(line, " - ");
    if (!dash || sscanf(line, "%*s %*s %*s %1023s %1023s", h->mounted, h->mounted_at) != 2)
        return false;
    unescape(h->mounted);
    unescape(h->mounted_at);
    if (sscanf(dash, " - %31s %*s %255s", type, super) != 2)
        return false;
    return v2 ? strcmp(type, "cgroup2") == 0 : strcmp(type, "cgroup") == 0 && has_word(super, "cpu");
}

static bool find_mount(const char *root, struct hierarchy *h) {
    char line[LINE_BYTES];
    bool found = false;
    FILE *file = open_below(root, "/proc/self/mountinfo");
    while (file && !found && fgets(line, sizeof line, file))
        found = read_mount(line, h, h->v2);
    if (file)
        fclose(file);
    return found;
}

/* A line of /proc/self/cgroup: "0::/group" (v2) or "id:controller,controller:/group" (v1). */
static bool read_group(char *line, struct hierarchy *h) {
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return false;
    *group++ = 0;
    group[strcspn(group, "\n")] = 0;
    controllers++;
    bool right = h->v2 ? *controllers == 0 : has_word(controllers, "cpu");
    if (!right || strlen(group) >= sizeof h->group)
        return false;
    memcpy(h->group, group, strlen(group) + 1);
    return true;
}

static bool find_group(const char *root, struct hierarchy *h) {
    char line[LINE_BYTES];
    bool found = false;
    FILE *file = open_below(root, "/proc/self/cgroup");
    while (file && !found && fgets(line, sizeof line, file))
        found = read_group(line, h);
    if (file)
        fclose(file);
    return found;
}

static bool read_numbers(const char *root, const char *dir, const char *name, double *a, double *b) {
    char path[2 * PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? open_below(root, path) : NULL;
    if (!file)
        return false;
    int got = fscanf(file, "%lf %lf", a, b); /* "max 100000" yields none: no limit */
    fclose(file);
    return got >= 1;
}

/* Quota of one directory in CPUs, 0: none. */
static double quota_at(const char *root, const char *dir, bool v2) {
    double quota = 0, period = 0, unused;
    if (v2 ? !read_numbers(root, dir, "cpu.max", &quota, &period)
           : !read_numbers(root, dir, "cpu.cfs_quota_us", &quota, &unused) ||
                 !read_numbers(root, dir, "cpu.cfs_period_us", &period, &unused))
        return 0;
    return quota > 0 && period > 0 ? quota / period : 0;
}

static double quota_up(const char *root, const struct hierarchy *h) {
    char dir[2 * PATH_BYTES];
    size_t mounted = strlen(h->mounted), top = strlen(h->mounted_at);
    const char *below =
        h->group; /* in a container the group may lie outside of what is mounted: only the mount counts */
    if (mounted > 1) {
        bool inside =
            strncmp(h->group, h->mounted, mounted) == 0 && (h->group[mounted] == '/' || h->group[mounted] == 0);
        below = inside ? h->group + mounted : "";
    }
    int n = snprintf(dir, sizeof dir, "%s%s", h->mounted_at, strcmp(below, "/") == 0 ? "" : below);
    double least = 0;
    if (n <= 0 || (size_t)n >= sizeof dir)
        return 0;
    for (;;) {
        double quota = quota_at(root, dir, h->v2);
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < top)
            return least;
        *slash = 0;
    }
}

double sa_quota_cpus(const char *root) {
    double least = 0;
    for (int v2 = 0; v2 <= 1; v2++) {
        struct hierarchy h = {.v2 = v2};
        double quota = find_mount(root, &h) && find_group(root, &h) ? quota_up(root, &h) : 0;
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
    }
    return least;
}
