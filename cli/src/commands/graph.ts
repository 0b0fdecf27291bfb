import { type Command, Option } from "commander";
import { type Done, examples, jsonOption, nodesOption } from "../options.ts";

export interface GraphOptions {
  format: "text" | "list" | "mermaid" | "dot" | "json";
  layer?: string[];
  nodes?: string[];
  json?: boolean;
}

export function registerGraph(cli: Command, done: Done): void {
  const command = cli
    .command("graph")
    .summary("draw the graph of a PipelineSpec")
    .description("draw the compiled graph of a PipelineSpec: nodes, what flows between them, buffers, modules")
    .argument("<spec>", "PipelineSpec, YAML or JSON")
    .addOption(
      new Option("--format <format>", "text and list for people")
        .choices(["text", "list", "mermaid", "dot", "json"])
        .default("text"),
    )
    .option("--layer <file...>", "layers of configuration to lay over the spec first (rspp/overrides/v1)")
    .addOption(nodesOption())
    .addOption(jsonOption("the graph as one JSON object, as --format json"))
    .action(async (spec: string, { json, ...options }: GraphOptions) =>
      done(await (await import("../actions/graph.ts")).graph(spec, json ? { ...options, format: "json" } : options)),
    );
  examples(
    command,
    ["rspp graph agent.yaml", "the caller at the top, the output at the bottom"],
    ["rspp graph agent.yaml --format mermaid", "for a page of documentation"],
    ["rspp graph agent.yaml --format dot | dot -Tsvg > agent.svg", "with Graphviz"],
  );
}
