// The token rule of CONTRACT.md in JavaScript.

import { LOWER, TOKENS } from "./unicode-data.mjs";

const SPACE = 0x20;

// Code point → lower case, 0 for separators; in pages of 256 code points, so that the many pages
// of separators only can be one.
const PAGES = unicodePages();

// The same for ASCII.
const ASCII = Uint8Array.from(PAGES[0].subarray(0, 128));

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
  const out = new Uint16Array(sentence.length);
  let end = 0;
  let separated = false;
  for (let i = 0; i < sentence.length; i++) {
    const codePoint = sentence.codePointAt(i);
    const lower = PAGES[codePoint >> 8][codePoint & 0xff];
    if (codePoint > 0xffff) i++;
    if (lower === 0) {
      separated = end > 0;
      continue;
    }
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

function unicodePages() {
  const separators = new Int32Array(256);
  const pages = new Array(0x1100).fill(separators);
  const set = (codePoint, lower) => {
    const index = codePoint >> 8;
    if (pages[index] === separators) pages[index] = new Int32Array(256);
    pages[index][codePoint & 0xff] = lower;
  };
  const tokens = TOKENS.trim().split(/\s+/).map(Number);
  for (let i = 0, codePoint = 0; i < tokens.length; i += 2) {
    codePoint += tokens[i];
    for (const end = codePoint + tokens[i + 1]; codePoint < end; codePoint++)
      set(codePoint, codePoint);
  }
  const lower = LOWER.trim().split(/\s+/).map(Number);
  for (let i = 0; i < lower.length; i += 4) {
    const [first, count, step, delta] = lower.slice(i, i + 4);
    for (let k = 0; k < count; k++) set(first + k * step, first + k * step + delta);
  }
  return pages;
}
