import type { Command } from "commander";
import { type Done, examples, jsonOption, type ReplayOptions, replayOption, whole, withCaller } from "../options.ts";
import { purposeOption } from "../timeline/options.ts";

export interface SummaryOptions extends ReplayOptions {
  purpose?: string;
  pipeline?: string;
  limit: number;
}

export function registerSummary(cli: Command, done: Done): void {
  const command = cli
    .command("summary")
    .summary("what became of sessions: turns, tokens, audio, cost, latencies")
    .description("sum up one session, or list the summaries of a tenant's sessions that have ended, the last one first")
    .argument("[session]", "session id; none: list")
    .option("--pipeline <name>", "only of this pipeline, in the list")
    .option("--limit <count>", "sessions listed at most", whole(1, 1_000), 50)
    .addOption(purposeOption())
    .addOption(replayOption())
    .addOption(jsonOption())
    .action(async (session: string | undefined, options: SummaryOptions) =>
      done(await (await import("../actions/summary.ts")).summary(session, options)),
    );
  withCaller(command);
  examples(command, ["rspp summary SESSION", ""], ["rspp summary --limit 1000 --json", "for a report of one's own"]);
}
