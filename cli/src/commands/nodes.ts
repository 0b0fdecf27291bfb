import type { Command } from "commander";
import { type Done, examples, jsonOption } from "../options.ts";

export function registerNodes(cli: Command, done: Done): void {
  const command = cli
    .command("nodes")
    .summary("node packages in folders")
    .description("list node packages with their ports, scope and digest: what a custom node of a spec may name")
    .argument("<dir...>", "folders of node packages, or of folders of them")
    .addOption(jsonOption())
    .action(async (dirs: string[], options: { json?: boolean }) =>
      done(await (await import("../actions/nodes.ts")).nodes(dirs, options.json ?? false)),
    );
  examples(command, ["rspp nodes pipelines/nodes", "and then, in a spec: kind: custom, package: gain@1.0.0"]);
}
