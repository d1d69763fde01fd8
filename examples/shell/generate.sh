#!/bin/sh
# generate.sh <m_zp> <coupling> <events> <seed>: one line "mass weight" for each event, masses in GeV.
set -eu
awk -v m="$1" -v g="$2" -v n="$3" -v seed="$4" '
BEGIN {
    srand(seed % 1000000)
    pi = atan2(0, -1)
    total = 500 * g * g * exp(-(m - 400) / 500)          # expected events, made up
    for (i = 0; i < n; i++) {
        normal = sqrt(-2 * log(1 - rand())) * cos(2 * pi * rand())
        printf "%.4f %.8g\n", m * (1 + 0.05 * normal), total / n
    }
    printf "%d events for m_zp = %s GeV, coupling %s\n", n, m, g > "/dev/stderr"
}' > events.txt
