/** One runtime's append stream: open, window, records and resume queries in; acknowledgements and refusals out. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SessionKey as SessionKeyMessage } from "@rspp/gen/rspp/common/v1/reference_pb";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import {
  type AppendResumeQuery,
  type AppendTimelineRequest,
  type AppendTimelineResponse,
  AppendTimelineResponseSchema,
} from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { storeFailure } from "@rspp/host/store-failure";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import type { SessionKey } from "@rspp/store/state-store";
import type { Refusal } from "./chain.ts";
import { limits } from "./limits.ts";
import { Outbox } from "./outbox.ts";
import { readAhead } from "./read-ahead.ts";
import type { AppendClient, KeptChain, TimelineKeeper } from "./timeline-keeper.ts";

export const domain = "replay";

/** Answers of one stream; ends with the requests, once what they brought is stored. */
export function appendStream(
  keeper: TimelineKeeper,
  requests: AsyncIterable<AppendTimelineRequest>,
  signal: AbortSignal,
): AsyncIterable<AppendTimelineResponse> {
  const stream = new AppendStream(keeper);
  const stop = (): void => stream.stop();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  void stream.run(requests).finally(() => signal.removeEventListener("abort", stop));
  return stream.answers;
}

class AppendStream implements AppendClient {
  readonly answers = new Outbox<AppendTimelineResponse>(() => this.#room?.());
  readonly #keeper: TimelineKeeper;
  #opened = false;
  #over = false;
  /** Taken and not yet stored. */
  #records = 0;
  #bytes = 0;
  #room: (() => void) | null = null;

  constructor(keeper: TimelineKeeper) {
    this.#keeper = keeper;
  }

  async run(requests: AsyncIterable<AppendTimelineRequest>): Promise<void> {
    try {
      const ahead = readAhead(requests, limits.APPEND_AHEAD, ({ message }) => this.#expect(message));
      for await (const { message } of ahead) {
        if (this.#over) return;
        if (message.case === "open") this.#open();
        else if (!this.#opened) throw outOfOrder("open", "Send open first.");
        else if (message.case === "append") await this.#append(message.value.records);
        else if (message.case === "resume") await this.#resume(message.value);
      }
      await this.#until(() => this.#records === 0);
      this.answers.end();
    } catch (failure) {
      this.failed(failure);
    }
  }

  /** The server stops, or the caller is gone: what was taken is stored all the same, and told if there is time. */
  stop(): void {
    this.#over = true;
    this.#room?.();
    this.answers.end();
  }

  stored(records: number, bytes: number): void {
    this.#records -= records;
    this.#bytes -= bytes;
    this.#room?.();
  }

  acknowledged({ session, epoch, stored, storedHead }: KeptChain): void {
    this.#acknowledge(session, epoch, stored, storedHead);
  }

  failed(failure: unknown): void {
    this.#over = true;
    this.#room?.();
    this.answers.fail(storeFailure(failure, domain));
  }

  #open(): void {
    if (this.#opened) throw outOfOrder("open", "Send open once, as the first message.");
    this.#opened = true;
    const value = { maxRecords: limits.APPEND_WINDOW_RECORDS, maxBytes: limits.APPEND_WINDOW_BYTES };
    this.#answer({ case: "window", value });
  }

  /** Sessions that come soon are looked up already: one after another it would take a question to the index each. */
  #expect(message: AppendTimelineRequest["message"]): void {
    if (!this.#opened) return;
    if (message.case === "resume") this.#keeper.expect(sessionOf(message.value.session));
    else if (message.case === "append") {
      for (const { session } of message.value.records) this.#keeper.expect(sessionOf(session));
    }
  }

  async #append(records: readonly TimelineRecord[]): Promise<void> {
    const again = new Set<KeptChain>();
    const refused = new Set<string>();
    for (const record of records) {
      await this.#until(() => this.#records < limits.APPEND_WINDOW_RECORDS && this.#bytes < limits.APPEND_WINDOW_BYTES);
      if (this.#over) return;
      const session = sessionOf(record.session);
      const epoch = Number(record.epoch);
      // A chain that was refused in this run goes no further in it; others do.
      const name = `${epoch}/${session.tenantId}/${session.sessionId}`;
      if (refused.has(name)) continue;
      const chain = await this.#keeper.chain(session, epoch);
      const taken = this.#keeper.take(chain, record, this);
      if (taken.kind === "fresh") {
        this.#records += 1;
        this.#bytes += taken.bytes;
      } else if (taken.kind === "known") again.add(chain);
      else {
        refused.add(name);
        this.#refuse(session, epoch, taken.refusal);
      }
    }
    for (const chain of again) this.acknowledged(chain);
  }

  async #resume({ session, epoch }: AppendResumeQuery): Promise<void> {
    const key = sessionOf(session);
    const { stored, head } = await this.#keeper.position(key, Number(epoch));
    this.#acknowledge(key, Number(epoch), stored, head);
  }

  #acknowledge(session: SessionKey, epoch: number, stored: number, headDigest: Uint8Array): void {
    const acknowledgedSequence = BigInt(stored);
    this.#answer({ case: "ack", value: { session, epoch: BigInt(epoch), acknowledgedSequence, headDigest } });
  }

  #refuse(session: SessionKey, epoch: number, { sequence, reason, metadata, remedy }: Refusal): void {
    const error = rpcError(reason, { domain, metadata, remedy }).detail;
    this.#answer({ case: "refused", value: { session, epoch: BigInt(epoch), sequence: BigInt(sequence), error } });
  }

  #answer(message: NonNullable<MessageInitShape<typeof AppendTimelineResponseSchema>["message"]>): void {
    this.answers.push(create(AppendTimelineResponseSchema, { message }));
  }

  async #until(there: () => boolean): Promise<void> {
    while (!this.#over && !(there() && this.answers.size < limits.ANSWERS_MAX)) {
      // Nobody else's records need come to make an object full.
      this.#keeper.hurry();
      await new Promise<void>((resolve) => (this.#room = resolve));
    }
    this.#room = null;
  }
}

export function sessionOf(session: SessionKeyMessage | undefined): SessionKey {
  return { tenantId: session?.tenantId ?? "", sessionId: session?.sessionId ?? "" };
}

function outOfOrder(field: string, remedy: string): RpcError {
  return rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata: { field }, remedy });
}
