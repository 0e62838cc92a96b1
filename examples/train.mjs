// Train XOR over HTTP and watch the loss fall. No dependencies, no build step.
//
//   node examples/train.mjs [http://127.0.0.1:8000]
//
// In a browser: open /docs of the service, paste this file into the console.

const url = globalThis.process?.argv[2] ?? globalThis.location?.origin ?? "http://127.0.0.1:8000";

async function post(path, body, accept = "application/json") {
  const headers = { "Content-Type": "application/json", Accept: accept };
  const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => {
    throw new Error(`No server at ${url}. Start one with: make run`);
  });
  if (!response.ok) {
    const problem = await response.json();
    throw new Error(`${path} answered ${problem.status}: ${problem.title}. ${problem.detail}`);
  }
  return response;
}

// A chunk of the network ends anywhere, also in the middle of a line: what is left over waits for the next chunk.
async function* jsonLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield* lines.filter((line) => line.trim()).map((line) => JSON.parse(line));
  }
}

async function train(request) {
  let next = 1;
  for await (const event of jsonLines(await post("/v1/train", request, "application/jsonl"))) {
    if (event.event === "progress" && event.epoch >= next) {
      console.log(`epoch ${event.epoch} of ${event.epochs}: loss ${event.loss.toFixed(6)}`);
      next = event.epoch + 100;
    }
    if (event.event === "problem") throw new Error(`${event.title}. ${event.detail}`);
    if (event.event === "result") {
      if (event.stopped_because !== "epochs") throw new Error(`The training stopped: ${event.stopped_because}`);
      console.log(`after ${event.completed_epochs} epochs: loss ${event.history.at(-1).loss.toFixed(6)}`);
      return event.network;
    }
  }
  throw new Error("The stream ended before the result came.");
}

async function main() {
  const inputs = [[0, 0], [0, 1], [1, 0], [1, 1]];
  const targets = [[0], [1], [1], [0]];
  const made = await post("/v1/initialize", {
    input_size: 2,
    layers: [
      { units: 4, activation: "tanh", weights_initializer: "glorot_normal" },
      { units: 1, activation: "sigmoid", weights_initializer: "glorot_normal" },
    ],
    seed: 1,
  });
  const network = await train({
    network: (await made.json()).network,
    inputs,
    targets,
    loss: "binary_cross_entropy",
    optimizer: { kind: "adam", learning_rate: 0.05 },
    epochs: 1000,
    batch_size: null, // the whole batch: a step for each epoch
  });
  const { outputs } = await (await post("/v1/forward", { network, inputs, include: ["outputs"] })).json();
  for (const [i, [a, b]] of inputs.entries()) {
    const [output] = outputs[i];
    console.log(`${a} xor ${b} = ${Math.round(output)}  (${output.toFixed(4)})`);
  }
}

main().catch((error) => {
  console.error(error.message);
  if (globalThis.process) process.exitCode = 1;
});
