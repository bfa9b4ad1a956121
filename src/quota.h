/* SPDX-License-Identifier: MIT */
#ifndef SA_QUOTA_H
#define SA_QUOTA_H

/* CPU time the process's control groups grant, in CPUs: the least of cpu.max (v2) or cfs_quota / cfs_period (v1) from
 * its own group up to the root; 0 if there is no limit or it cannot be read. `root` stands before every path read (""
 * for this machine, another directory for a test). */
double sa_quota_cpus(const char *root);

#endif
