#!/bin/sh
# squared distance from the middle, written as one file at the end
echo "point $1 $2 seed $3"
awk -v x="$1" -v y="$2" 'BEGIN { printf "%.15g", (x-0.5)^2 + (y-0.5)^2 }' > part.txt
mv part.txt events.txt
