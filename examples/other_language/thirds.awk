#!/usr/bin/awk -f
# A learner in awk: the lowest point of one parameter. It reads one question in a line of JSON and answers with one line.
# Evenly spread points at first; later the points at a third and two thirds of the gap on either side of the lowest one.

function number(text, name,    found) {  # the first "name": number in the text
    found = match(text, "\"" name "\":-?[0-9][0-9.eE+-]*")
    return found ? substr(text, RSTART + length(name) + 3, RLENGTH - length(name) - 3) + 0 : ""
}

{
    n = number($0, "n"); low = number($0, "low"); high = number($0, "high")
    count = 0; best = ""; left = low; right = high; x[0] = ""
    rest = $0
    while (match(rest, /"parameters":\{"x":[^}]*\},"values":\{[^}]*\}/)) {
        point = substr(rest, RSTART, RLENGTH); rest = substr(rest, RSTART + RLENGTH)
        place[++count] = number(point, "x"); f = number(point, "f")
        if (f != "" && (best == "" || f < lowest)) { best = place[count]; lowest = f }
    }
    answer = ""
    for (i = 1; i <= n; i++) {
        if (best == "") { next_x = low + (high - low) * (i - 0.5) / n }
        else {
            left = low; right = high
            for (k = 1; k <= count; k++) {
                if (place[k] < best && place[k] > left) left = place[k]
                if (place[k] > best && place[k] < right) right = place[k]
            }
            next_x = (i % 2) ? best - (best - left) / (i + 2) : best + (right - best) / (i + 1)
        }
        place[++count] = next_x
        answer = answer (i > 1 ? "," : "") sprintf("{\"x\":%.12g}", next_x)
    }
    print "{\"points\":[" answer "]}"
    fflush()
}
