// The textbook step by the generated TypeScript client: node build/textbook.js URL

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

// Of the forms that an answer may have, this client takes JSON, and problems.
const client = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: process.argv[2] });

const example = await client.GET("/v1/examples/{name}", { params: { path: { name: "textbook" } } });
const request = example.data?.request as components["schemas"]["StepRequest"];
const first = await client.POST("/v1/step", { body: request });
if (first.error || !first.data?.network) throw new Error(first.error?.detail);
console.log(first.data.loss);

// What came back goes in, and plain names will do.
const { network, optimizer_state } = first.data;
const { inputs, targets, optimizer } = request;
const second = await client.POST("/v1/step", {
  body: { network, optimizer_state, inputs, targets, optimizer, loss: "cross_entropy" },
});
console.log(second.data?.loss);

const refused = await client.POST("/v1/step", { body: { network, inputs: [[1, 2]], optimizer: "sgd" } });
console.log(refused.error?.type, refused.error?.errors?.[0].pointer);

const catalog = await client.GET("/v1/catalog");
console.log(catalog.data?.losses.find((loss) => loss.kind === "mse")?.formula.text);

// @ts-expect-error: a name that the service does not know is found before it is sent.
const unknown: components["schemas"]["ActivationName"] = "rellu";
void unknown;
