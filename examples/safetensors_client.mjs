// Send and receive arrays as they lie in memory, in JavaScript. No dependencies, no build step.
//
//   node examples/safetensors_client.mjs [http://127.0.0.1:8000]
//
// A safetensors file is the length of its header (8 bytes, little-endian), the header (JSON: dtype, shape and place of
// each tensor) and the data. In a browser: open /docs of the service, paste this file into the console.

const url = globalThis.process?.argv[2] ?? globalThis.location?.origin ?? "http://127.0.0.1:8000";
const form = "application/vnd.safetensors";
const arrays = { F64: Float64Array, F32: Float32Array, I64: BigInt64Array, I32: Int32Array };
const nameOf = (data) => Object.keys(arrays).find((name) => data instanceof arrays[name]);

class Tensor {
  constructor(shape, data) {
    this.shape = shape;
    this.data = data;
  }
  at(...index) {
    return this.data[index.reduce((place, i, axis) => place * this.shape[axis] + i, 0)];
  }
}

// Tensors go into the data by their path, network.layers.0.weights; what is left goes into the metadata as JSON.
function pack(request) {
  const tensors = [];
  const withoutTensors = (value, path) => {
    if (Array.isArray(value)) return value.map((item, i) => withoutTensors(item, [...path, i]));
    if (value === null || typeof value !== "object") return value;
    const kept = {};
    for (const [key, item] of Object.entries(value)) {
      if (item instanceof Tensor) tensors.push([[...path, key].join("."), item]);
      else kept[key] = withoutTensors(item, [...path, key]);
    }
    return kept;
  };
  const header = { __metadata__: { json: JSON.stringify(withoutTensors(request, [])) } };
  tensors.sort(([, a], [, b]) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT);
  let size = 0;
  for (const [name, { shape, data }] of tensors) {
    header[name] = { dtype: nameOf(data), shape, data_offsets: [size, (size += data.byteLength)] };
  }
  let text = new TextEncoder().encode(JSON.stringify(header));
  const padding = (8 - (text.length % 8)) % 8; // spaces at its end let the data begin at a multiple of 8
  text = new TextEncoder().encode(JSON.stringify(header) + " ".repeat(padding));
  const file = new Uint8Array(8 + text.length + size);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  for (const [name, { data }] of tensors) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    file.set(bytes, 8 + text.length + header[name].data_offsets[0]);
  }
  return file;
}

// The arrays are views of the file: nothing is copied.
function unpack(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__, ...entries } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const answer = JSON.parse(__metadata__.json);
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(entries)) {
    const Type = arrays[dtype];
    const data = new Type(buffer, 8 + length + begin, (end - begin) / Type.BYTES_PER_ELEMENT);
    const path = name.split(".");
    const last = path.pop();
    path.reduce((place, part) => place[part], answer)[last] = new Tensor(shape, data);
  }
  return answer;
}

async function post(path, request) {
  const headers = { "Content-Type": form, Accept: form };
  const response = await fetch(url + path, { method: "POST", headers, body: pack(request) }).catch(() => {
    throw new Error(`No server at ${url}. Start one with: make run`);
  });
  if (response.ok) return unpack(await response.arrayBuffer());
  const problem = await response.json(); // problems are JSON whatever was asked for
  throw new Error(`${path} answered ${problem.status}: ${problem.title}. ${problem.detail}`);
}

async function main() {
  const made = await post("/v1/initialize", {
    input_size: 2,
    layers: [
      { units: 8, activation: "tanh", weights_initializer: "glorot_normal" },
      { units: 1, activation: "sigmoid", weights_initializer: "glorot_normal" },
    ],
    seed: 1,
  });
  const inputs = new Tensor([4, 2], new Float64Array([0, 0, 0, 1, 1, 0, 1, 1]));
  let request = {
    ...made,
    inputs,
    targets: new Tensor([4, 1], new Float64Array([0, 1, 1, 0])),
    loss: "binary_cross_entropy",
    optimizer: { kind: "adam", learning_rate: 0.1 },
  };
  for (let step = 0; step <= 100; step += 1) {
    const answer = await post("/v1/step", request);
    if (step % 50 === 0) console.log(`step ${step}: loss ${answer.loss.toFixed(6)}`);
    request = { ...request, network: answer.network, optimizer_state: answer.optimizer_state };
  }
  const { outputs } = await post("/v1/forward", { network: request.network, inputs });
  for (let i = 0; i < 4; i += 1) {
    console.log(`${inputs.at(i, 0)} xor ${inputs.at(i, 1)} = ${Math.round(outputs.at(i, 0))}`);
  }
}

main().catch((error) => {
  console.error(error.message);
  if (globalThis.process) process.exitCode = 1;
});
