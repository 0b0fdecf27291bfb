/** `rspp watch`: a session's events as they happen (F-022, F-027). */
import { EventKindSchema, SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { type Command, Option } from "commander";
import { allWords, valueOfWord, wordsOption } from "../enum-words.ts";
import { EXIT_OK } from "../errors.ts";
import { eventData, eventLine, isNoise } from "../event-view.ts";
import { type Done, examples, jsonOption, type RuntimeOptions, runtimeOption, whole, withCaller } from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { connectTo } from "../platform-client/connect.ts";
import { interrupted } from "../signals.ts";

interface WatchOptions extends RuntimeOptions {
  kind?: string[];
  debugFor: number;
  for?: number;
}

const dayMs = 86_400_000;

export function registerWatch(cli: Command, done: Done): void {
  const command = cli
    .command("watch")
    .summary("show the events of a session live")
    .description("show a session's events as they happen; Ctrl-C ends it, and the session goes on")
    .argument("<session>", "session id")
    .addOption(
      new Option(
        "--kind <kind...>",
        `only these: ${allWords(EventKindSchema).join(", ")} (default: all but audio and debug)`,
      ).argParser(wordsOption(EventKindSchema)),
    )
    .option("--debug-for <ms>", "ask for debug events for so long", whole(0, 3_600_000), 0)
    .option("--for <ms>", "end after so long", whole(1, dayMs))
    .addOption(runtimeOption())
    .addOption(jsonOption("print one JSON object a line, an event each"))
    .action(async (session: string, options: WatchOptions) => done(await watch(session, options)));
  withCaller(command);
  examples(
    command,
    ["rspp watch SESSION", ""],
    ["rspp watch SESSION --kind text,control", "with --kind metrics every metric, else the latencies of turns"],
    ["rspp watch SESSION --json | jq .text", "one event a line"],
  );
}

async function watch(sessionId: string, options: WatchOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const kinds = (options.kind ?? []).map((word) => valueOfWord(EventKindSchema, word));
  const runtime = connectTo("runtime", options.runtime, SessionService, options);
  const { signal, release } = interrupted(options.for);
  const metricsAsked = (options.kind ?? []).includes("metrics");
  let dropped = 0n;
  try {
    const request = { session: { tenantId: options.tenant, sessionId }, kinds, debugForMs: options.debugFor };
    for await (const told of runtime.stream((client) => client.watchSession(request, { signal }), signal)) {
      for (const event of told.events) {
        printer.data(eventData(event));
        if (metricsAsked || !isNoise(event)) printer.line(eventLine(event));
      }
      if (told.dropped > dropped)
        printer.note(`${told.dropped - dropped} events were not told: this watcher is too slow`);
      dropped = told.dropped;
    }
    if (!signal.aborted) printer.note("the session is over");
    return EXIT_OK;
  } finally {
    release();
  }
}
