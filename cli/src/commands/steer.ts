import { type Command, Option } from "commander";
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
