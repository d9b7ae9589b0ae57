#!/bin/sh
# The README's pictures, from a case: `cli/screens/make.sh CASEFILE CASE` writes five of them beside this file.
# CASEFILE is the built binary. A case with a fault in it is made by
# `casefile drill verify --incident resolution/stale-cache--ttl-too-long --keep FOLDER`.
set -eu
casefile=$1
case=$2
here=$(dirname "$0")
picture() {
    "$casefile" open "$case" --fresh --theme dark --size "$2" --keys "$3" --snapshot "$here/$1.svg"
}
picture overview 120x34 ''
picture finding 120x30 '7 enter'
picture trace 120x34 '7 enter j enter enter e'
picture map 120x34 '4'
picture registry 120x28 '5'
