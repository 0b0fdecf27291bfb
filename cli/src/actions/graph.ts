/** `rspp graph`: the compiled graph, drawn. */
import { formatProblems } from "@rspp/spec/problem";
import type { GraphOptions } from "../commands/graph.ts";
import { EXIT_OK, InputError } from "../errors.ts";
import { drawGraph } from "../graph/drawing.ts";
import { dot, listed, mermaid } from "../graph/formats.ts";
import { type DrawnGraph, drawnGraph } from "../graph/model.ts";
import { catalogueFrom } from "../node-packages.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { checkFile, readLayers, readSpecFile } from "../spec-file.ts";

/** @throws InputError with every problem of a spec that does not compile. */
export async function graph(path: string, { format, layer = [], nodes }: GraphOptions): Promise<number> {
  const file = await readSpecFile(path);
  const checked = checkFile(file, await readLayers(layer), await catalogueFrom(nodes));
  if (!checked.ok) throw new InputError(formatProblems(checked.problems, file.source));
  process.stdout.write(`${drawn(drawnGraph(checked.compiled), format)}\n`);
  return EXIT_OK;
}

function drawn(found: DrawnGraph, format: GraphOptions["format"]): string {
  switch (format) {
    case "mermaid":
      return mermaid(found);
    case "dot":
      return dot(found);
    case "json":
      return JSON.stringify(found, null, 2);
    case "list":
      return listed(found).join("\n");
    case "text":
      return text(found);
  }
}

const widthWithoutTerminal = 160;

function text(found: DrawnGraph): string {
  const { rows, width } = drawGraph(found);
  const room = process.stdout.columns ?? widthWithoutTerminal;
  const head = `${paint("bold", found.pipeline)}  ${paint("dim", found.fingerprint.slice(0, 12))}`;
  if (width > room) {
    const note = `the drawing is ${width} columns wide, this terminal ${room}: here it is as a list`;
    return [head, paint("dim", note), "", ...listed(found)].join("\n");
  }
  return [head, "", ...rows, "", ...edgeTable(found)].join("\n");
}

function edgeTable({ edges }: DrawnGraph): string[] {
  const conditional = edges.some(({ condition }) => condition !== null);
  const heads = ["from", "to", "carries", "buffer", "items", "ms", ...(conditional ? ["if"] : [])];
  return table(
    heads.map((head) => ({ head, right: head === "items" || head === "ms" })),
    edges.map((edge) => [
      `${edge.from}.${edge.fromPort}`,
      `${edge.to}.${edge.toPort}`,
      edge.type,
      edge.strategy,
      String(edge.maxItems),
      String(edge.maxQueueMs),
      ...(conditional ? [edge.condition ?? ""] : []),
    ]),
  );
}
