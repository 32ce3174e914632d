// The operator `words` of CONTRACT.md in JavaScript: the token rule.

import { LOWER, TOKENS } from "./unicode-data.mjs";

const SPACE = 0x20;

// By code point of ASCII: its lower case, 0 for separators.
const ASCII = new Uint8Array(128);
for (const c of "0123456789abcdefghijklmnopqrstuvwxyz")
  ASCII[c.charCodeAt(0)] = ASCII[c.toUpperCase().charCodeAt(0)] = c.charCodeAt(0);

// By code point: SELF + the distance to its lower case, 0 for separators. Made at the first sentence
// that is not ASCII, so that a cold start without one does not pay for it.
const SELF = 0x110000;
let unicode;

/** The tokens of a sentence, in order, in lower case, joined by single spaces. */
export function tokenize(sentence) {
  const length = sentence.length;
  const out = Buffer.allocUnsafe(length);
  let end = 0;
  let separated = false;
  for (let i = 0; i < length; i++) {
    const unit = sentence.charCodeAt(i);
    if (unit > 127) return tokenizeUnicode(sentence);
    const lower = ASCII[unit];
    if (lower === 0) {
      separated = end > 0;
    } else {
      if (separated) out[end++] = SPACE;
      separated = false;
      out[end++] = lower;
    }
  }
  return out.latin1Slice(0, end);
}

function tokenizeUnicode(sentence) {
  unicode ??= unicodeTable();
  const out = new Uint16Array(sentence.length);
  let end = 0;
  let separated = false;
  for (let i = 0; i < sentence.length; i++) {
    const codePoint = sentence.codePointAt(i);
    const entry = unicode[codePoint];
    if (codePoint > 0xffff) i++;
    if (entry === 0) {
      separated = end > 0;
      continue;
    }
    const lower = codePoint + entry - SELF;
    if (separated) out[end++] = SPACE;
    separated = false;
    if (lower > 0xffff) {
      out[end++] = 0xd7c0 + (lower >> 10);
      out[end++] = 0xdc00 + (lower & 0x3ff);
    } else {
      out[end++] = lower;
    }
  }
  return Buffer.from(out.buffer).ucs2Slice(0, 2 * end);
}

function unicodeTable() {
  const table = new Int32Array(0x110000);
  const tokens = TOKENS.trim().split(/\s+/).map(Number);
  for (let i = 0, end = 0; i < tokens.length; i += 2) {
    const first = end + tokens[i];
    end = first + tokens[i + 1];
    table.fill(SELF, first, end);
  }
  const lower = LOWER.trim().split(/\s+/).map(Number);
  for (let i = 0; i < lower.length; i += 4) {
    const [first, count, step, delta] = lower.slice(i, i + 4);
    for (let k = 0; k < count; k++) table[first + k * step] += delta;
  }
  return table;
}
