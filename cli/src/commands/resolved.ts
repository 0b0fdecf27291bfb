import type { Command } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  nodesOption,
  type RuntimeOptions,
  runtimeOption,
  withCaller,
} from "../options.ts";

export interface ResolvedOptions extends RuntimeOptions {
  layer?: string[];
  nodes?: string[];
}

export function registerResolved(cli: Command, done: Done): void {
  const command = cli
    .command("resolved")
    .summary("what a session runs by, and where each value comes from")
    .description(
      "show what a running session, or a spec, resolves to: nodes, providers and every value with its origin (profile, spec, module, layer)",
    )
    .argument("<session|spec>", "id of a session of the platform, or a PipelineSpec file (.yaml, .yml, .json)")
    .option("--layer <file...>", "of a spec: layers of configuration to lay over it first (rspp/overrides/v1)")
    .addOption(runtimeOption())
    .addOption(nodesOption())
    .addOption(jsonOption())
    .action(async (target: string, options: ResolvedOptions) =>
      done(await (await import("../actions/resolved.ts")).resolved(target, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp resolved ses_x", "the plan of a session that runs"],
    ["rspp resolved agent.yaml --layer production.yaml acme.yaml", "whose value wins, with file and line"],
  );
}
