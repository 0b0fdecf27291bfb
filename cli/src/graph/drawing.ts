/** The graph as people read it in a terminal: from the caller at the top to the output at the bottom. */
import { Canvas } from "./canvas.ts";
import { edgeLabel, type Item, layOut, type Segment } from "./layout.ts";
import type { DrawnGraph } from "./model.ts";

export function drawGraph(graph: DrawnGraph): { rows: string[]; width: number } {
  const canvas = new Canvas();
  const bands = layOut(graph);
  let y = 0;
  for (const [i, band] of bands.entries()) {
    const height = Math.max(...band.map(({ words }) => words.length)) + 2;
    for (const item of band) drawItem(canvas, item, y, height);
    y += height;
    if (i + 1 < bands.length)
      y = route(
        canvas,
        band.flatMap(({ outs }) => outs),
        y - 1,
      );
  }
  return { rows: canvas.rows(), width: canvas.width };
}

function drawItem(canvas: Canvas, { node, words, x, width, outs }: Item, y: number, height: number): void {
  if (node === null) {
    canvas.vertical(x, y, y + height - 1);
    return;
  }
  const own = words.length + 2;
  canvas.box(x, y, width, own);
  for (const [i, word] of words.entries()) canvas.text(x + 2, y + 1 + i, word);
  // Down to the end of the band, where the next one's tracks begin.
  for (const { exitX } of outs) canvas.vertical(exitX, y + own - 1, y + height - 1);
}

/** Draws the segments below row `top`, each bend on a row of its own; gives the row of the next band. */
function route(canvas: Canvas, segments: readonly Segment[], top: number): number {
  const bends = inOrder(segments.filter(({ exitX, entryX }) => exitX !== entryX));
  const arrows = top + bends.length + 2;
  for (const segment of segments) {
    const { exitX, entryX, edge, to } = segment;
    const bend = bends.indexOf(segment);
    const track = top + 1 + bend;
    const end = to.node === null ? arrows + 1 : arrows;
    if (bend < 0) canvas.vertical(exitX, top, end);
    else {
      canvas.vertical(exitX, top, track);
      canvas.horizontal(track, exitX, entryX);
      canvas.vertical(entryX, track, end);
    }
    if (to.node !== null) canvas.text(entryX, arrows, `▼ ${edgeLabel(edge)}`);
  }
  return arrows + 1;
}

/** A bend that leaves where another one arrives stands above it, so that the two do not run into one line. */
function inOrder(bends: readonly Segment[]): Segment[] {
  const done: Segment[] = [];
  const open = [...bends];
  while (open.length > 0) {
    const next = open.findIndex((one) => !open.some((other) => other !== one && other.exitX === one.entryX));
    done.push(...open.splice(Math.max(0, next), 1));
  }
  return done;
}
