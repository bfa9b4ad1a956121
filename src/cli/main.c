/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "output.h"
#include "standard.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"run", command_run, "attend over tensors in files (.npy, .safetensors)"},
    {"decode", command_decode, "go token by token over tensors in files, with growing caches of k and v"},
    {"look", command_look, "show where the attention of one word goes"},
    {"encode", command_encode, "turn lines of text into vectors of their meaning, with a model of the BERT kind"},
    {"plan", command_plan, "show how a batch would be scheduled, on this machine or any other"},
    {"info", command_info, "show what the engine sees of this machine, and what it decides"},
};

static void help(FILE *to) {
    fputs("usage: sa COMMAND [ARGUMENT...]     exact batched self-attention for CPUs\n\n", to);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(to, "  %-6s %s\n", commands[i].name, commands[i].what);
    fputs("\n  sa COMMAND --help describes a command, sa --version names the version.\n"
          "  Exit status: 0 done, 1 failed, 2 wrong usage.\n",
          to);
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        help(stderr);
        return WRONG_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(stdout), DONE;
    if (strcmp(argv[1], "--version") == 0)
        return printf("sa %s\n", sa_version()), DONE;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    complain("no command '%s' (sa --help)", argv[1]);
    return WRONG_USAGE;
}

int main(int argc, char **argv) {
    standard_open();
    output_catch_signals();
    return standard_close("sa", run(argc, argv));
}
