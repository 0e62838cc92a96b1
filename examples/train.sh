#!/usr/bin/env bash
# Train a network with curl and jq alone: which points of a square lie inside a circle?
#
#   examples/train.sh [http://127.0.0.1:8000]
set -euo pipefail

url=${1:-http://127.0.0.1:8000}
work=$(mktemp -d)
rounded='def rounded: . * 10000 | round / 10000; '
trap 'rm -r "$work"' EXIT

for tool in curl jq; do
  command -v "$tool" >/dev/null || { echo "This program needs $tool." >&2; exit 1; }
done
curl -sf "$url/livez" >/dev/null || { echo "No server at $url. Start one with: make run" >&2; exit 1; }

# A grid of points in the square from -1 to 1, and for each whether it lies inside the circle. $1 is their distance.
points() {
  jq -n --argjson step "$1" '[range(-1; 1.0001; $step) as $x | range(-1; 1.0001; $step) as $y | [$x, $y]]
    | {inputs: ., targets: map([if .[0] * .[0] + .[1] * .[1] < 0.6 then 1 else 0 end])}'
}
points 0.05 >"$work/train.json"
points 0.03 >"$work/test.json"

curl -sS --fail-with-body --json '{
  "input_size": 2,
  "layers": [{"units": 16, "activation": "tanh"}, {"units": 1, "activation": "sigmoid"}],
  "seed": 0
}' "$url/v1/initialize" >"$work/made.json"

# The request is the points, the network and how to train it, merged. curl -N shows each line as soon as it comes.
jq -s 'add + {
  loss: "binary_cross_entropy", optimizer: {kind: "adam", learning_rate: 0.01},
  epochs: 60, batch_size: 16, metrics: ["accuracy"]
}' "$work/train.json" "$work/made.json" |
  curl -sSN --json @- -H 'Accept: application/jsonl' "$url/v1/train" |
  tee "$work/events.jsonl" |
  jq -r --unbuffered "$rounded"'
    if .event == "progress" then
      "epoch \(.epoch)/\(.epochs)  loss \(.loss | rounded)  accuracy \(.metrics.accuracy | rounded)"
    elif .stopped_because == "epochs" then "trained \(.completed_epochs) epochs, loss \(.history[-1].loss | rounded)"
    elif .stopped_because then "The training stopped: \(.stopped_because)\n" | halt_error
    elif .title then "\(.title): \(.detail)\n" | halt_error
    else empty end'

# The last event is the result; its network goes straight into the next request.
tail -n 1 "$work/events.jsonl" | jq '{network}' | jq -s 'add + {
  loss: "binary_cross_entropy", metrics: ["accuracy"], include: ["loss", "metrics"]
}' "$work/test.json" - |
  curl -sS --fail-with-body --json @- "$url/v1/evaluate" |
  jq -r "$rounded"'"On points it has not seen: loss \(.loss | rounded), accuracy \(.metrics.accuracy | rounded)"'
