/** Where everything stands: one band a column, from the caller down; an edge over several bands gets a lane in each. */
import type { DrawnEdge, DrawnGraph, DrawnNode } from "./model.ts";

export interface Item {
  /** null: the lane of an edge that passes by. */
  readonly node: DrawnNode | null;
  readonly words: readonly string[];
  /** Left end; set when its band is placed. */
  x: number;
  width: number;
  readonly ins: Segment[];
  readonly outs: Segment[];
}

/** One edge between two neighbouring bands. */
export interface Segment {
  readonly edge: DrawnEdge;
  readonly from: Item;
  readonly to: Item;
  exitX: number;
  entryX: number;
}

const gap = 3;

export function edgeLabel({ type, strategy, condition }: DrawnEdge): string {
  return `${type} ${strategy}${condition === null ? "" : " if"}`;
}

export function layOut(graph: DrawnGraph): Item[][] {
  const bands: Item[][] = [];
  const items = new Map<string, Item>();
  for (const node of graph.nodes) {
    const item: Item = { node, words: wordsOf(node), x: 0, width: 0, ins: [], outs: [] };
    items.set(node.id, item);
    bandAt(bands, node.column).push(item);
  }
  for (const edge of graph.edges) connect(bands, edge, items);
  for (const [i, band] of bands.entries()) {
    if (i > 0) order(band);
    for (const item of band) item.width = widthOf(item);
  }
  for (const band of bands) place(band);
  return bands;
}

function bandAt(bands: Item[][], column: number): Item[] {
  while (bands.length <= column) bands.push([]);
  return bands[column] ?? [];
}

function wordsOf({ id, kind, scope, by, module, standbyOf }: DrawnNode): string[] {
  const providers = by.join(", ");
  return [
    id,
    `${kind}, ${scope}`,
    ...(by.length === 0 ? [] : [providers.length > 40 ? `${providers.slice(0, 39)}…` : providers]),
    ...(module === null ? [] : [`◆ ${module.use}`]),
    ...standbyOf.map((other) => `takes over from ${other}`),
  ];
}

function connect(bands: Item[][], edge: DrawnEdge, items: ReadonlyMap<string, Item>): void {
  const [start, end] = [items.get(edge.from), items.get(edge.to)];
  if (start === undefined || end === undefined) return;
  const last = end.node?.column ?? 0;
  let from = start;
  for (let column = (start.node?.column ?? 0) + 1; column < last; column++) {
    const lane: Item = { node: null, words: [], x: 0, width: 0, ins: [], outs: [] };
    bandAt(bands, column).push(lane);
    join(edge, from, lane);
    from = lane;
  }
  join(edge, from, end);
}

function join(edge: DrawnEdge, from: Item, to: Item): void {
  const segment: Segment = { edge, from, to, exitX: 0, entryX: 0 };
  from.outs.push(segment);
  to.ins.push(segment);
}

/** Each item near what feeds it. The band before is in order already: its items know their rank by `x`. */
function order(band: Item[]): void {
  const rank = (item: Item): number =>
    item.ins.length === 0 ? 0 : item.ins.reduce((sum, { from }) => sum + from.x, 0) / item.ins.length;
  const ranked = band.map((item) => ({ item, rank: rank(item) })).sort((a, b) => a.rank - b.rank);
  for (const [i, { item }] of ranked.entries()) {
    band[i] = item;
    // The rank until it is placed.
    item.x = i;
  }
}

function widthOf({ node, words, ins, outs }: Item): number {
  if (node === null) return 1;
  const entries = ins.reduce((sum, { edge }) => sum + edgeLabel(edge).length + 4, 2);
  return Math.max(...words.map((word) => word.length + 4), entries, outs.length * 2 + 3);
}

/** From left to right; under what feeds it where there is room. */
function place(band: Item[]): void {
  let cursor = 0;
  for (const item of band) {
    item.ins.sort((a, b) => a.exitX - b.exitX);
    const inset = item.node === null ? 0 : 2;
    const wanted = (item.ins[0]?.exitX ?? 0) - inset;
    item.x = Math.max(cursor, wanted);
    cursor = item.x + item.width + gap;
    let at = item.x + inset;
    for (const segment of item.ins) {
      segment.entryX = at;
      at += edgeLabel(segment.edge).length + 4;
    }
    item.outs.sort((a, b) => a.to.x - b.to.x);
    for (const [i, segment] of item.outs.entries()) segment.exitX = item.x + inset + 2 * i;
  }
}
