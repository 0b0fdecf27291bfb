/** `rspp watch`: a session's events as they happen (F-022, F-027). */
import { EventKindSchema, SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import type { WatchOptions } from "../commands/watch.ts";
import { valueOfWord } from "../enum-words.ts";
import { EXIT_OK } from "../errors.ts";
import { eventData, eventLine, isNoise } from "../event-view.ts";
import { createPrinter } from "../output/printer.ts";
import { connectTo } from "../platform-client/connect.ts";
import { interrupted } from "../signals.ts";

export async function watch(sessionId: string, options: WatchOptions): Promise<number> {
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
