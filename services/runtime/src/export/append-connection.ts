/** Keeps one append stream to the replay service open: again after each loss, with growing waits. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import {
  type AppendTimelineRequest,
  AppendTimelineRequestSchema,
  type AppendTimelineResponse,
  TimelineService,
} from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import type { TimerHandle } from "@rspp/ports/clock";
import { describeFailure } from "@rspp/rpc/log";
import { exportLimits as limits } from "./limits.ts";
import { RequestQueue } from "./request-queue.ts";
import type { ExporterOptions } from "./types.ts";

type Request = NonNullable<MessageInitShape<typeof AppendTimelineRequestSchema>["message"]>;

export interface ConnectionEvents {
  /** The service answers; `connection` counts up. */
  connected(connection: number, window: { maxRecords: number; maxBytes: number }): void;
  disconnected(connection: number): void;
  answer(message: AppendTimelineResponse["message"]): void;
}

export class AppendConnection {
  /** Connections that were lost or refused. */
  losses = 0;
  private readonly options: ExporterOptions;
  private readonly events: ConnectionEvents;
  private requests = new RequestQueue<AppendTimelineRequest>();
  private abort = new AbortController();
  private number = 0;
  private stopped = false;
  private waiting: { timer: TimerHandle; done: () => void } | null = null;
  private readonly over: Promise<void>;

  constructor(options: ExporterOptions, events: ConnectionEvents) {
    this.options = options;
    this.events = events;
    this.over = this.run();
  }

  send(message: Request): void {
    this.requests.push(create(AppendTimelineRequestSchema, { message }));
  }

  /** Gives this stream up, and begins another. */
  reconnect(): void {
    this.abort.abort();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.requests.end();
    this.waiting?.done();
    this.abort.abort();
    await this.over;
  }

  private async run(): Promise<void> {
    // The caller has its exporter first.
    await Promise.resolve();
    for (let failures = 0; !this.stopped; ) {
      failures = (await this.once()) ? 0 : failures + 1;
      if (!this.stopped) await this.wait(failures);
    }
  }

  /** True when the service had answered. */
  private async once(): Promise<boolean> {
    const { connection, instanceId, build, log } = this.options;
    const number = ++this.number;
    let answered = false;
    this.requests = new RequestQueue();
    this.abort = new AbortController();
    this.send({ case: "open", value: { instanceId, build } });
    try {
      const { signal } = this.abort;
      for await (const { message } of connection.client(TimelineService).appendTimeline(this.requests, { signal })) {
        if (message.case === "window") {
          answered = true;
          this.events.connected(number, message.value);
        } else this.events.answer(message);
      }
    } catch (failure) {
      if (!this.stopped) log.debug({ connection: number, ...describeFailure(failure) }, "timeline export disconnected");
    }
    this.requests.end();
    if (!this.stopped) this.losses += 1;
    this.events.disconnected(number);
    return answered;
  }

  private wait(failures: number): Promise<void> {
    const ms = Math.min(limits.RECONNECT_MAX_MS, limits.RECONNECT_FIRST_MS * 2 ** Math.min(failures, 16));
    const { clock } = this.options;
    return new Promise((resolve) => {
      const done = (): void => {
        this.waiting?.timer.clear();
        this.waiting = null;
        resolve();
      };
      this.waiting = { timer: clock.timerAt(asMonoNs(clock.nowNs() + msToNs(ms)), done), done };
    });
  }
}
