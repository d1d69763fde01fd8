#!/bin/sh
# limit.sh <events> <background>: CLs of a counting experiment, observed and expected, with its statistical error.
# The approximation: CLs = 2 (1 - Phi(s / sqrt(b))) for the expected limit; the observed one has a deficit of 10 %.
set -eu
awk -v b="$2" '
function tail(x,    t) {                                  # 1 - Phi(x) for x >= 0, Abramowitz and Stegun 26.2.17
    t = 1 / (1 + 0.2316419 * x)
    return exp(-x * x / 2) / 2.50662827 * t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + \
        t * (-1.821255978 + t * 1.330274429))))
}
$1 > 300 { s += $2; squares += $2 * $2 }
END {
    e = sqrt(squares)
    exp_ = 2 * tail(s / sqrt(b)); obs = 2 * tail(s / sqrt(0.9 * b))
    exp_e = exp_ - 2 * tail((s + e) / sqrt(b)); obs_e = obs - 2 * tail((s + e) / sqrt(0.9 * b))
    printf "signal %.4f +- %.4f events\n", s, e
    printf "{\"obs\": %.8g, \"obs_sigma\": %.8g, \"exp\": %.8g, \"exp_sigma\": %.8g, \"signal\": %.8g}\n",
        obs, obs_e, exp_, exp_e, s > "limits.json"
}' "$1"
