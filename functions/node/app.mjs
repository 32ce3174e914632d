// The Lambda handler in JavaScript. The event, the answer and the errors are in CONTRACT.md.

import { subwords } from "./subwords.mjs";
import { tokenize } from "./words.mjs";

const OPERATORS = new Map([
  ["words", tokenize],
  ["subwords", subwords],
]);

let firstCall = true;

class InvalidBatch extends Error {
  name = "InvalidBatch";
}

export const handler = async (event) => {
  const isFirstCall = firstCall;
  firstCall = false;
  const { sentences, operate, id } = parse(event);
  const started = process.hrtime.bigint();
  const tokens = sentences.map((sentence) => operate(sentence));
  return {
    tokens,
    compute_ns: Number(process.hrtime.bigint() - started),
    first_call: isFirstCall,
    language: "node",
    runtime: process.versions.node,
    id, // JSON leaves it out where it is undefined
  };
};

/** The sentences, the operator and the id, if there is one, of a valid event. */
function parse(event) {
  if (typeof event !== "object" || event === null || Array.isArray(event))
    throw new InvalidBatch("the event is not an object");
  const { sentences, operator = "words", id } = event;
  if (sentences === undefined) throw new InvalidBatch("the event has no sentences");
  if (!Array.isArray(sentences)) throw new InvalidBatch("sentences is not a list");
  const index = sentences.findIndex((sentence) => typeof sentence !== "string");
  if (index >= 0) throw new InvalidBatch(`sentence ${index} is not a string`);
  const operate = OPERATORS.get(operator);
  if (operate === undefined) throw new InvalidBatch("operator is neither words nor subwords");
  if (id !== undefined && typeof id !== "string") throw new InvalidBatch("id is not a string");
  return { sentences, operate, id };
}
