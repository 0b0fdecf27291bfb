import { type Command, Option } from "commander";
import { sessionStates, wordsOption } from "../enum-words.ts";
import {
  DATA_DEFAULT,
  type Done,
  examples,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

export interface SessionsOptions extends PlatformOptions {
  local?: boolean;
  data?: string;
  state?: string[];
  limit: number;
}

export function registerSessions(cli: Command, done: Done): void {
  const command = cli
    .command("sessions")
    .summary("list sessions and their state")
    .description("list the sessions of the platform, newest first; --local: those recorded on this machine")
    .addOption(
      new Option("--state <state...>", `only these: ${sessionStates.join(", ")}`).argParser(wordsOption(sessionStates)),
    )
    .option("--limit <count>", "sessions listed at most", whole(1, 1_000), 50)
    .option("--local", `recordings on this machine, in ${DATA_DEFAULT}`)
    .option("--data <dir>", "recordings in another folder; means --local")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (options: SessionsOptions) => done(await (await import("../actions/sessions.ts")).sessions(options)));
  withCaller(command);
  examples(
    command,
    ["rspp sessions --state active", ""],
    ["rspp sessions --local", "what `rspp demo` and `rspp run` recorded here"],
  );
}
