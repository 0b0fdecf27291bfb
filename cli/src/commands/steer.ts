import { type Command, InvalidArgumentError, Option } from "commander";
import { type Done, examples, jsonOption, type RuntimeOptions, runtimeOption, whole, withCaller } from "../options.ts";

export interface SayOptions extends RuntimeOptions {
  uninterruptible?: boolean;
  queue?: boolean;
  hangUp?: boolean;
}

export interface CancelOptions extends RuntimeOptions {
  turn?: number;
  node?: string;
  invocation?: string;
  all?: boolean;
  soft?: boolean;
}

export interface CaptureOptions extends RuntimeOptions {
  level: "L0" | "L1" | "L2";
  for?: number;
}

export interface EndOptions extends RuntimeOptions {
  drain: number;
}

export function registerSay(cli: Command, done: Done): void {
  const command = cli
    .command("say")
    .summary("have the agent say a text")
    .description("have the agent say a text, in a turn of its own")
    .argument("<session>", "session id")
    .argument("<text...>", "what is said")
    .option("--uninterruptible", "the caller cannot cut it")
    .option("--queue", "after what is being said now, whatever the pipeline's policy")
    .option("--hang-up", "end the session once it has been heard")
    .addOption(runtimeOption())
    .addOption(jsonOption())
    .action(async (session: string, text: string[], options: SayOptions) =>
      done(await (await import("../actions/steer.ts")).say(session, text, options)),
    );
  withCaller(command);
  examples(command, ['rspp say SESSION "We close in five minutes."', ""]);
}

export function registerCancel(cli: Command, done: Done): void {
  const command = cli
    .command("cancel")
    .summary("cut what the agent says now")
    .description("cut what the agent says now; nothing of it is heard once the cancel is accepted")
    .argument("<session>", "session id")
    .addOption(new Option("--turn <number>", "this turn (default: the open one)").argParser(whole(1, 4_294_967_295)))
    .option("--node <id>", "one node of the turn alone")
    .option("--invocation <id>", "one provider invocation alone")
    .option("--all", "everything of the session")
    .option("--soft", "at the end of the chunk in flight instead of at once")
    .addOption(runtimeOption())
    .addOption(jsonOption())
    .action(async (session: string, options: CancelOptions) =>
      done(await (await import("../actions/steer.ts")).cancel(session, options)),
    );
  withCaller(command);
  examples(command, ["rspp cancel SESSION", "the open turn"], ["rspp cancel SESSION --node llm", ""]);
}

export function registerEnd(cli: Command, done: Done): void {
  const command = cli
    .command("end")
    .summary("end a session")
    .description("end a session; --drain lets the open turn finish first")
    .argument("<session>", "session id")
    .option("--drain <ms>", "time for the open turn", whole(0, 600_000), 0)
    .addOption(runtimeOption())
    .addOption(jsonOption())
    .action(async (session: string, options: EndOptions) =>
      done(await (await import("../actions/steer.ts")).end(session, options)),
    );
  withCaller(command);
  examples(command, ["rspp end SESSION --drain 10000", ""]);
}

export function registerCapture(cli: Command, done: Done): void {
  const command = cli
    .command("capture")
    .summary("record one session at a higher level for a while")
    .description(
      "record one session at a higher level for a while; it rises between two turns and falls back by itself. L2 keeps what is said: needs an admin's token, and is audited",
    )
    .argument("<session>", "session id")
    .addOption(
      new Option("--level <level>", "L1 journal, L2 payloads too, L0 ends a capture")
        .choices(["L0", "L1", "L2"])
        .default("L1"),
    )
    .addOption(new Option("--for <duration>", "e.g. 90s, 10m, 2h; at most 24h (default: 10m)").argParser(durationMs))
    .addOption(runtimeOption())
    .addOption(jsonOption())
    .action(async (session: string, options: CaptureOptions) =>
      done(await (await import("../actions/steer.ts")).capture(session, options)),
    );
  withCaller(command);
  examples(command, ["rspp capture SESSION --level L2 --for 10m", ""], ["rspp capture SESSION --level L0", "ends it"]);
}

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

function durationMs(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const ms = Number(count) * (unitsMs[unit] ?? 0);
  if (ms >= 1_000 && ms <= 86_400_000) return ms;
  throw new InvalidArgumentError("give a number with s, m or h, from 1s to 24h.");
}
