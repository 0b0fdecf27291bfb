import type { Command } from "commander";
import { type Done, examples, gathered, jsonOption } from "../options.ts";

export interface SecretsOptions {
  config?: string[];
  json?: boolean;
}

export function registerSecrets(cli: Command, done: Done): void {
  const command = cli
    .command("secrets")
    .summary("references to secrets: list, check")
    .description(
      "which secrets the services and pipelines here name, and whether each reference resolves; never the secrets",
    )
    .argument("<action>", "list, or check, which fails when one does not resolve")
    .argument("[specs...]", "pipeline specs whose references count too")
    .option("--config <files...>", "configuration files of services, besides the environment", gathered)
    .addOption(jsonOption())
    .action(async (action: string, specs: string[], options: SecretsOptions) =>
      done(await (await import("../actions/secrets.ts")).secrets(action, specs, options)),
    );
  examples(
    command,
    ["rspp secrets check", "before a start: what RSPP_* name must be there"],
    ["rspp secrets list pipelines/specs/voice-assistant.yaml", ""],
  );
}
