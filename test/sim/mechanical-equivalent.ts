/** Mutants that mean the same as the source, by name: file, the line before and after, and why nobody can tell. */
export interface Equivalent {
  file: string;
  before: string;
  after: string;
  why: string;
}

const fence = "libs/kernel/src/fence.ts";
const authority = "libs/kernel/src/session-authority.ts";
const lanes = "libs/kernel/src/lanes.ts";
const linkFence = "libs/protocol/src/link-fence.ts";

export const EQUIVALENT: readonly Equivalent[] = [
  {
    file: fence,
    before: "for (; at < f.entries.length; at++) {",
    after: "for (; at <= f.entries.length; at++) {",
    why: "past the end there is no entry, and the loop ends at a missing one",
  },
  {
    file: fence,
    before: "if (drop > 0) f.entries.splice(0, drop);",
    after: "if (drop >= 0) f.entries.splice(0, drop);",
    why: "none taken out is nothing taken out",
  },
  {
    file: authority,
    before: 'if (body.type !== "authority") return;',
    after: 'if (body.type !== "authority") ;',
    why: "it is called for authority alone; the line tells the compiler so",
  },
  {
    file: lanes,
    before: "return a.due !== b.due ? a.due < b.due : a.seq < b.seq;",
    after: "return a.due !== b.due ? a.due <= b.due : a.seq < b.seq;",
    why: "the two are not equal there",
  },
  {
    file: lanes,
    before: "return a.due !== b.due ? a.due < b.due : a.seq < b.seq;",
    after: "return a.due !== b.due ? a.due < b.due : a.seq <= b.seq;",
    why: "no two items have the same sequence",
  },
  {
    file: lanes,
    before: "heap.push(item);",
    after: ";",
    why: "the item is put at its place afterwards, which lengthens the heap all the same",
  },
  {
    file: linkFence,
    before: "if (floorTurn <= fences.floorTurn) return;",
    after: "if (floorTurn < fences.floorTurn) return;",
    why: "the same floor again filters nothing out",
  },
  {
    file: linkFence,
    before: "return { floorTurn: -1, entries: [] };",
    after: "return { floorTurn: -(1 + 1), entries: [] };",
    why: "turns are numbered from 0",
  },
];
