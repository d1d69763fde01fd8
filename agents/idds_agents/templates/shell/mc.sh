#!/bin/sh
# Called as: mc.sh <m_zp> <m_a> <events> <seed>, in an empty folder of its own for each point.
# What is printed goes to the log. An exit code other than 0 is a failure: the point is tried again.
# It must leave limits.json, with a number for each target; <target>_sigma is its statistical error, if it has one.
set -eu
m_zp=$1 m_a=$2 events=$3 seed=$4

# A toy of a simulation: each event is accepted with a probability that falls with the masses.
awk -v m_zp="$m_zp" -v m_a="$m_a" -v events="$events" -v seed="$seed" '
BEGIN {
    srand(seed % 1000000)
    for (i = 0; i < events; i++) if (rand() < 0.4 / (1 + (m_a / 900) ^ 2)) passed++
    efficiency = passed / events
    expected = 30 * exp(-(m_zp - 400) / 700) * efficiency / 0.4     # signal events
    error = expected * sqrt((1 - efficiency) / (passed + 0.5))
    printf "%d of %d events pass, %.3f signal events\n", passed, events, expected
    obs = exp(-expected); median = exp(-expected * 0.8)
    printf "{\"obs\": %.6g, \"obs_sigma\": %.6g, \"exp\": %.6g, \"exp_sigma\": %.6g}\n",
        obs, obs * error, median, median * error * 0.8 > "limits.json"
}'
