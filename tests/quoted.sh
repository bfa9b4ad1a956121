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
program=$(tail -n +2 tests/shortest_layer.c | tr -s ' \n' '  ')
case "$(squeeze include/sa/layer.h)" in
*"$program"*) ;;
*) echo "tests/shortest_layer.c is not what include/sa/layer.h shows" && exit 1 ;;
esac
check_listed() { # HEADER MAP
    declared=$(sed -n 's/^SA_API .*[ *]\(sa_[a-z_]*\)(.*/\1/p' "$1" | sort)
    listed=$(sed -n 's/^ *\(sa_[a-z_]*\);$/\1/p' "$2" | sort)
    [ "$declared" = "$listed" ] || { echo "$1 declares: $declared; $2 lists: $listed" && exit 1; }
    [ -n "$declared" ]
}
check_listed include/sa/sa.h src/install/libsa.map
check_listed include/sa/layer.h src/install/libsa_layer.map
