import type { WordTiming } from "@rspp/ports/provider";

/** A sound of the synthesised clause; `pau` is a pause. Seconds from the start of its audio. */
export interface Phone {
  name: string;
  startS: number;
  endS: number;
}

export interface Token {
  text: string;
  /** Character offsets in the clause: `from` inclusive, `to` exclusive. */
  from: number;
  to: number;
}

/** The pronounceable tokens of a clause: split at white space, punctuation outside left out. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  for (const match of text.matchAll(/\S+/g)) {
    const inner = match[0].match(/[\p{L}\p{N}](?:.*[\p{L}\p{N}])?/u);
    if (inner === null) continue;
    tokens.push({ text: inner[0], from: match.index, to: match.index + match[0].length });
  }
  return tokens;
}

/** Reads flite's `-psdur` line: `name:end` in seconds. */
export function parsePhones(line: string): Phone[] {
  const phones: Phone[] = [];
  let startS = 0;
  for (const match of line.matchAll(/(\S+):([\d.]+)/g)) {
    const endS = Number(match[2]);
    phones.push({ name: match[1] ?? "", startS, endS });
    startS = endS;
  }
  return phones;
}

/** Groups of phones between pauses. */
export function phoneGroups(phones: readonly Phone[]): string[][] {
  const groups: string[][] = [];
  let open: string[] | undefined;
  for (const phone of phones) {
    if (phone.name === "pau") {
      open = undefined;
      continue;
    }
    if (open === undefined) {
      open = [];
      groups.push(open);
    }
    open.push(phone.name);
  }
  return groups;
}

const letters = [
  "ey|b iy|s iy|d iy|iy|eh f|jh iy|ey ch|ay|jh ey|k ey|eh l|eh m",
  "eh n|ow|p iy|k y uw|aa r|eh s|t iy|y uw|v iy|d ah b ax l y uw|eh k s|w ay|z iy",
]
  .join("|")
  .split("|");

/** How a single letter is spoken by name; undefined for anything else. */
export function letterPhones(token: string): string[] | undefined {
  return /^[a-z]$/i.test(token) ? letters[token.toLowerCase().charCodeAt(0) - 97]?.split(" ") : undefined;
}

/**
 * Timings of the tokens within a clause. `expected` holds each token's phones as spoken alone; spoken together some
 * differ (weak vowels), so both sequences are aligned with the fewest edits and each sound counted to the token it
 * meets. Undefined when the numbers do not match, or a token met no sound.
 */
export function alignWords(
  tokens: readonly Token[],
  expected: readonly (readonly string[])[],
  phones: readonly Phone[],
): WordTiming[] | undefined {
  if (tokens.length === 0 || tokens.length !== expected.length) return undefined;
  const spoken = phones.filter((phone) => phone.name !== "pau");
  const owners = expected.flatMap((names, token) => names.map((name) => ({ name, token })));
  const assigned = align(owners, spoken);
  const words: WordTiming[] = [];
  for (const [i, token] of tokens.entries()) {
    const own = spoken.filter((_, at) => assigned[at] === i);
    const first = own[0];
    const last = own.at(-1);
    if (first === undefined || last === undefined) return undefined;
    words.push({
      from: token.from,
      to: token.to,
      startUs: Math.round(first.startS * 1e6),
      endUs: Math.round(last.endS * 1e6),
    });
  }
  return words;
}

/** For each spoken phone the token it belongs to; never falling. */
function align(owners: readonly { name: string; token: number }[], spoken: readonly Phone[]): number[] {
  const rows = owners.length;
  const columns = spoken.length;
  const width = columns + 1;
  const cost = new Float64Array((rows + 1) * width);
  for (let r = 0; r <= rows; r++) {
    for (let c = 0; c <= columns; c++) {
      if (r === 0 || c === 0) cost[r * width + c] = r + c;
      else cost[r * width + c] = cheapest(cost, owners, spoken, r, c, width);
    }
  }
  const assigned = new Array<number>(columns).fill(0);
  let r = rows;
  let c = columns;
  while (c > 0) {
    const here = cost[r * width + c] ?? 0;
    const up = r > 0 ? (cost[(r - 1) * width + c] ?? 0) : Number.POSITIVE_INFINITY;
    const left = cost[r * width + c - 1] ?? 0;
    if (r > 0 && here === up + 1) {
      r--;
      continue;
    }
    assigned[c - 1] = owners[Math.max(0, r - 1)]?.token ?? 0;
    if (here !== left + 1 && r > 0) r--;
    c--;
  }
  return assigned;
}

function cheapest(
  cost: Float64Array,
  owners: readonly { name: string }[],
  spoken: readonly Phone[],
  r: number,
  c: number,
  width: number,
): number {
  const same = owners[r - 1]?.name === spoken[c - 1]?.name;
  // A changed sound is cheaper than one lost and one gained, so that weak vowels meet their strong forms.
  const diagonal = (cost[(r - 1) * width + c - 1] ?? 0) + (same ? 0 : 1.1);
  return Math.min(diagonal, (cost[(r - 1) * width + c] ?? 0) + 1, (cost[r * width + c - 1] ?? 0) + 1);
}
