import type { Command } from "commander";
import { type Done, examples, jsonOption } from "../options.ts";

export interface ProvidersOptions {
  json?: boolean;
}

export function registerProviders(cli: Command, done: Done): void {
  const command = cli
    .command("providers")
    .summary("vendors of speech and language: list, test")
    .description("which providers there are and which of them are configured here; whether one keeps its contract")
    .argument("<action>", "list, or test, which calls the vendor itself and may cost a little")
    .argument("[name]", "of the provider to test, e.g. deepgram/stt")
    .addOption(jsonOption())
    .action(async (action: string, name: string | undefined, options: ProvidersOptions) =>
      done(await (await import("../actions/providers.ts")).providers(action, name, options)),
    );
  examples(
    command,
    ["rspp providers list", "what can be configured, and by which variables"],
    ["DEEPGRAM_API_KEY=… rspp providers test deepgram/stt", "the contract, against the vendor itself"],
  );
}
