// Time the built Node function: drive.mjs TASK_ROOT SECONDS PAYLOAD_FILE…
//
// Prints, for each file, the median nanoseconds of the floor, of the handler, and the compute_ns. Its
// lines are events that take turns: caches and branch predictors get used to one. With 0 seconds there
// is one call, the first.

import { readFileSync } from "node:fs";

const [taskRoot, seconds, ...files] = process.argv.slice(2);
const { handler } = await import(`${taskRoot}/app.mjs`);
const now = process.hrtime.bigint;

for (const file of files) {
  const payloads = readFileSync(file, "utf8").trimEnd().split("\n");
  const samples = [];
  const until = now() + BigInt(Math.round(2e9 * seconds)); // the first half warms up
  do {
    const payload = payloads[samples.length % payloads.length];
    const t0 = now();
    floor(payload);
    const t1 = now();
    const computeNs = await ours(payload);
    const t2 = now();
    samples.push([t1 - t0, t2 - t1, computeNs].map(Number));
  } while (now() < until);
  const steady = samples.slice(samples.length / 2);
  console.log(...[0, 1, 2].map((column) => median(steady.map((sample) => sample[column]))));
}

function floor(payload) {
  const tokens = JSON.parse(payload).sentences.map((sentence) => sentence.split(" ").join(" "));
  return JSON.stringify({ tokens, compute_ns: 0, first_call: false, language: "", runtime: "" });
}

async function ours(payload) {
  const answer = await handler(JSON.parse(payload));
  JSON.stringify(answer);
  return answer.compute_ns;
}

function median(numbers) {
  return numbers.sort((a, b) => a - b)[numbers.length >> 1];
}
