import type { Command } from "commander";
import { type Done, examples, jsonOption, type PlatformOptions, registryOption, withCaller } from "../options.ts";

export interface RouteOptions extends PlatformOptions {
  session?: string;
  transport?: string;
  region?: string;
  var?: string[];
}

export interface RouteCommandOptions extends RouteOptions {
  tokenFile?: string;
  showToken?: boolean;
}

export function registerRoute(cli: Command, done: Done): void {
  const command = cli
    .command("route")
    .summary("endpoint and token for a new session")
    .description("admit a session: where a client connects, and the token it connects with")
    .argument("<pipeline[@version]>", "published pipeline; without a version the newest")
    .option("--token-file <file>", "file the token is written to, readable by you alone (default: SESSION.token)")
    .option("--show-token", "print the token instead")
    .option("--session <id>", "session id; without it the registry makes one")
    .option("--transport <name>", "transport", "websocket")
    .option("--region <name>", "wanted region", "")
    .option("--var <name=value...>", "session variables; a value is JSON, or else a text")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (pipeline: string, options: RouteCommandOptions) =>
      done(await (await import("../actions/route.ts")).route(pipeline, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp route voice-assistant", ""],
    ["rspp route voice-assistant@2 --var caller=Ada --token-file t", ""],
    ["rspp route voice-assistant --show-token --json", "for a program that opens the session"],
  );
}
