// The operator `subwords` of CONTRACT.md in JavaScript: byte-pair encoding of tokens.

import { readFileSync } from "node:fs";
import { tokenize } from "./words.mjs";

const LONGEST = 64;
const CONTINUED = " ##";
const NEVER = 0x7fffffff;

// A piece is a number here, its symbol; 0 is a code point that is in no merge. Read when subwords are
// first asked for, so that a cold start without them does not pay for it.
const BITS = 13;
let symbolOf; // by code point
let rankOf; // left symbol << BITS | right symbol → rank of their merge
let made; // rank → symbol

// Of the stretch that is being merged: symbol and end of each piece, its rank with the next one.
const symbols = new Int32Array(LONGEST);
const ends = new Int32Array(LONGEST);
const ranks = new Int32Array(LONGEST);

/** The pieces of a sentence's tokens, joined by single spaces; all but a token's first are marked. */
export function subwords(sentence) {
  if (rankOf === undefined) readMerges();
  const tokens = tokenize(sentence);
  let out = "";
  let count = 0; // pieces of the stretch
  let start = 0; // of the stretch
  let separator = "";
  for (let at = 0; at < tokens.length; ) {
    const codePoint = tokens.codePointAt(at);
    if (codePoint === 0x20) {
      out += separator + merged(tokens, start, count);
      count = 0;
      start = ++at;
      separator = " ";
      continue;
    }
    if (count === LONGEST) {
      out += separator + merged(tokens, start, count);
      count = 0;
      start = at;
      separator = CONTINUED;
    }
    at += codePoint > 0xffff ? 2 : 1;
    symbols[count] = symbolOf[codePoint];
    ends[count++] = at;
  }
  return count > 0 ? out + separator + merged(tokens, start, count) : out;
}

/** The pieces of a stretch: the pair with the lowest rank, leftmost, is merged until there is none. */
function merged(tokens, start, count) {
  for (let i = 0; i < count - 1; i++) ranks[i] = rank(symbols[i], symbols[i + 1]);
  for (;;) {
    let at = 0;
    let lowest = NEVER;
    for (let i = 0; i < count - 1; i++) {
      if (ranks[i] < lowest) {
        lowest = ranks[i];
        at = i;
      }
    }
    if (lowest === NEVER) break;
    count--;
    symbols[at] = made[lowest];
    ends[at] = ends[at + 1];
    for (let i = at + 1; i < count; i++) {
      symbols[i] = symbols[i + 1];
      ends[i] = ends[i + 1];
      ranks[i] = ranks[i + 1];
    }
    if (at > 0) ranks[at - 1] = rank(symbols[at - 1], symbols[at]);
    if (at < count - 1) ranks[at] = rank(symbols[at], symbols[at + 1]);
  }
  let pieces = tokens.slice(start, ends[0]);
  for (let i = 1; i < count; i++) pieces += CONTINUED + tokens.slice(ends[i - 1], ends[i]);
  return pieces;
}

function rank(left, right) {
  return rankOf.get((left << BITS) | right) ?? NEVER;
}

function readMerges() {
  const text = readFileSync(new URL("merges.txt", import.meta.url), "utf8");
  const lines = text.trimEnd().split("\n");
  const known = new Map(); // piece → symbol
  symbolOf = new Uint16Array(0x110000);
  rankOf = new Map();
  made = new Uint16Array(lines.length);
  // What a merge takes was made by an earlier one, or is a code point.
  const symbol = (piece) => {
    const found = known.get(piece);
    if (found !== undefined) return found;
    known.set(piece, known.size + 1);
    return (symbolOf[piece.codePointAt(0)] = known.size);
  };
  for (let rank = 0; rank < lines.length; rank++) {
    const [left, right] = lines[rank].split(" ");
    rankOf.set((symbol(left) << BITS) | symbol(right), rank);
    made[rank] = known.size + 1;
    known.set(left + right, made[rank]);
  }
}
