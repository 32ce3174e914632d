// The Lambda handler in JavaScript. The event, the answer and the errors are in CONTRACT.md.

import { tokenize } from "./tokenizer.mjs";

const MAX_COST = 1_000_000;

let firstCall = true;

class InvalidBatch extends Error {
  name = "InvalidBatch";
}

export const handler = async (event) => {
  const isFirstCall = firstCall;
  firstCall = false;
  const { sentences, cost } = parse(event);
  const started = process.hrtime.bigint();
  let tokens;
  for (let i = 0; i < cost; i++) tokens = sentences.map(tokenize);
  return {
    tokens,
    compute_ns: Number(process.hrtime.bigint() - started),
    first_call: isFirstCall,
    language: "node",
    runtime: process.versions.node,
  };
};

/** The sentences and the cost of a valid event. */
function parse(event) {
  if (typeof event !== "object" || event === null || Array.isArray(event))
    throw new InvalidBatch("the event is not an object");
  const { sentences, cost = 1 } = event;
  if (sentences === undefined) throw new InvalidBatch("the event has no sentences");
  if (!Array.isArray(sentences)) throw new InvalidBatch("sentences is not a list");
  const index = sentences.findIndex((sentence) => typeof sentence !== "string");
  if (index >= 0) throw new InvalidBatch(`sentence ${index} is not a string`);
  if (!Number.isInteger(cost) || cost < 1 || cost > MAX_COST)
    throw new InvalidBatch(`cost is not an integer from 1 to ${MAX_COST}`);
  return { sentences, cost };
}
