#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: quoted.sh PROJECT    The shortest program, but for its licence line, stands word for word in the header and in the README, and every public
# function of the header is in the symbol list and the other way round.
set -eu
cd "$1"
squeeze() { sed 's/^ \* \{0,1\}//' "$1" | tr -s ' \n' '  '; }
program=$(tail -n +2 tests/shortest.c | tr -s ' \n' '  ')
for file in include/sa/sa.h README.md; do
    case "$(squeeze $file)" in
    *"$program"*) ;;
    *) echo "tests/shortest.c is not what $file shows" && exit 1 ;;
    esac
done
declared=$(sed -n 's/^SA_API .*[ *]\(sa_[a-z_]*\)(.*/\1/p' include/sa/sa.h | sort)
listed=$(sed -n 's/^ *\(sa_[a-z_]*\);$/\1/p' src/install/libsa.map | sort)
[ "$declared" = "$listed" ] || { echo "sa.h declares: $declared; libsa.map lists: $listed" && exit 1; }
[ -n "$declared" ]
