/**
 * The watcher's half of SnapshotService: runtimes, adapters and gateways have the control plane's snapshots in memory, so
 * that a turn start asks nobody (kernel.md §3, §7; F-102, F-159). It reconnects for as long as it lives.
 */
import { create, type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import type { MonoNs } from "@rspp/base/brand";
import { ErrorDetailSchema, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  SnapshotService,
  type WatchSnapshotsRequest,
  WatchSnapshotsRequestSchema,
  type WatchSnapshotsResponse,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import {
  type AdmissionSnapshot,
  AdmissionSnapshotSchema,
  type PolicySnapshot,
  PolicySnapshotSchema,
  type ProviderHealthSnapshot,
  ProviderHealthSnapshotSchema,
  type RolloutSnapshot,
  RolloutSnapshotSchema,
  type RoutingSnapshot,
  RoutingSnapshotSchema,
} from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { Clock } from "@rspp/ports/clock";
import { limits } from "@rspp/protocol/limits";
import {
  clientAccept,
  clientFreshness,
  clientOffer,
  clientRefuse,
  clientRestore,
  clientSubscribe,
  clientUnchanged,
  createWatchClient,
} from "@rspp/protocol/snapshot-watch-client";
import {
  parseSnapshotVersion,
  type SnapshotAnswer,
  type SnapshotFreshness,
  type SnapshotKind,
  type SnapshotOffer,
  snapshotVersion,
  type WatchClientState,
} from "@rspp/protocol/snapshot-watch-types";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { describeFailure, type Log } from "@rspp/rpc/log";
import { validate } from "@rspp/wire/validate";
import type { SnapshotDisk } from "./snapshot-disk.ts";

export interface SnapshotContents {
  routing: RoutingSnapshot;
  policy: PolicySnapshot;
  rollout: RolloutSnapshot;
  admission: AdmissionSnapshot;
  provider_health: ProviderHealthSnapshot;
}

const schemas: { readonly [K in SnapshotKind]: DescMessage } = {
  routing: RoutingSnapshotSchema,
  policy: PolicySnapshotSchema,
  rollout: RolloutSnapshotSchema,
  admission: AdmissionSnapshotSchema,
  provider_health: ProviderHealthSnapshotSchema,
};

/** Puts a version to use: null and it is in force, else why it cannot be used and stays refused. */
export type TakeSnapshot<K extends SnapshotKind> = (content: SnapshotContents[K], version: string) => string | null;

export interface SnapshotWatchOptions {
  readonly clock: Clock;
  readonly registry: RpcConnection;
  readonly instanceId: string;
  readonly log: Pick<Log, "info" | "warn">;
  /** Kinds watched, with what is done with each; `keep` alone keeps it to be read. */
  readonly take: { readonly [K in SnapshotKind]?: TakeSnapshot<K> };
  /** Null: nothing outlives this process. */
  readonly disk: SnapshotDisk | null;
  /** Something was heard: a new version, or that one is still current. */
  readonly onHeard?: (kind: SnapshotKind) => void;
}

/** For a kind that is only read. */
export const keep = (): null => null;

export interface SnapshotInForce<K extends SnapshotKind> extends SnapshotFreshness {
  readonly content: SnapshotContents[K];
  /** `<kind>@<n>`. */
  readonly name: string;
}

export interface SnapshotWatchStats {
  readonly connected: boolean;
  readonly accepted: number;
  readonly refused: number;
  readonly connections: number;
  readonly kinds: readonly (SnapshotFreshness & { readonly kind: SnapshotKind })[];
}

const againFirstMs = 250;
const againMaxMs = 5_000;
/** Nothing at all for this long: the connection is given up. */
const silentMs = limits.SNAPSHOT_UNCHANGED_EVERY_MS * 5;
/** The file of a kind is told so often that it is current still. */
const touchEveryMs = 5_000;

export class SnapshotWatch {
  readonly #options: SnapshotWatchOptions;
  readonly #state: WatchClientState;
  readonly #contents = new Map<SnapshotKind, unknown>();
  readonly #touched = new Map<SnapshotKind, number>();
  readonly #end = new AbortController();
  readonly #waiting = new Set<() => void>();
  #connected = false;
  #unsupported = false;
  #away = false;
  #running: Promise<void> | null = null;

  constructor(options: SnapshotWatchOptions) {
    this.#options = options;
    this.#state = createWatchClient(Object.keys(options.take) as SnapshotKind[]);
  }

  /** Puts what is kept on disk in force, then begins to watch. Never rejects. */
  async start(): Promise<void> {
    const { disk, clock } = this.#options;
    for (const kind of this.#kinds()) {
      const kept = (await disk?.read(kind)) ?? null;
      if (kept === null) continue;
      const ageMs = clock.wallMs() - kept.heardWallMs;
      const content = decode(kind, kept.content);
      if (typeof content === "string") continue;
      if (this.#take(kind, content, snapshotVersion(kind, kept.version)) !== null) continue;
      if (clientRestore(this.#state, { kind, version: kept.version, ageMs }, clock.nowNs()))
        this.#contents.set(kind, content);
    }
    this.#running = this.#run();
  }

  /** Undefined while there is none; look at `state` for how far it is to be trusted. */
  current<K extends SnapshotKind>(kind: K): SnapshotInForce<K> | undefined {
    const content = this.#contents.get(kind) as SnapshotContents[K] | undefined;
    if (content === undefined) return undefined;
    const freshness = this.freshness(kind);
    return { ...freshness, content, name: snapshotVersion(kind, freshness.version) };
  }

  freshness(kind: SnapshotKind): SnapshotFreshness {
    return clientFreshness(this.#state, kind, this.#options.clock.nowNs());
  }

  /** Every kind has a version; false when that was not so within `withinMs`. */
  async first(withinMs: number): Promise<boolean> {
    const there = (): boolean => this.#unsupported || this.#kinds().every((kind) => this.#contents.has(kind));
    const untilNs = this.#options.clock.nowNs() + withinMs * 1e6;
    while (!there() && !this.#end.signal.aborted) {
      const leftMs = (untilNs - this.#options.clock.nowNs()) / 1e6;
      if (leftMs <= 0) return false;
      await this.#heardWithin(leftMs);
    }
    return there();
  }

  /** The registry is of a version that has no snapshots (NF-010): there is nothing to wait for. */
  get unsupported(): boolean {
    return this.#unsupported;
  }

  stats(): SnapshotWatchStats {
    const { accepted, refused, connections } = this.#state.counters;
    const kinds = this.#kinds().map((kind) => ({ kind, ...this.freshness(kind) }));
    return { connected: this.#connected, accepted, refused, connections, kinds };
  }

  async close(): Promise<void> {
    this.#end.abort();
    for (const wake of this.#waiting) wake();
    await this.#running;
  }

  #kinds(): SnapshotKind[] {
    return Object.keys(this.#state.kinds) as SnapshotKind[];
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    for (let failures = 0; !signal.aborted; ) {
      const before = this.#state.counters.accepted;
      await this.#watch().catch((failure: unknown) => this.#failed(failure));
      this.#connected = false;
      failures = this.#state.counters.accepted > before ? 0 : failures + 1;
      const againMs = Math.min(againMaxMs, againFirstMs * 2 ** Math.min(failures, 10));
      // Spread, so that a registry that comes back is not met by all at once.
      if (!signal.aborted) await pause(againMs * (0.5 + Math.random() / 2), signal);
    }
  }

  #failed(failure: unknown): void {
    const { reason, detail } = rpcErrorOf(failure, "registry");
    this.#unsupported = reason === ErrorReason.NOT_FOUND && detail.metadata.what === "rpc";
    if (this.#away || this.#end.signal.aborted) return;
    this.#away = true;
    this.#options.log.warn(
      describeFailure(failure),
      "snapshots are not told any more; the last good ones stay in force",
    );
  }

  async #watch(): Promise<void> {
    const lost = new AbortController();
    const requests = new Requests(lost.signal);
    requests.push(this.#subscription());
    let alarm = setTimeout(() => lost.abort(), silentMs);
    const signal = AbortSignal.any([this.#end.signal, lost.signal]);
    try {
      for await (const response of this.#options.registry
        .client(SnapshotService)
        .watchSnapshots(requests, { signal })) {
        clearTimeout(alarm);
        alarm = setTimeout(() => lost.abort(), silentMs);
        if (this.#away) this.#options.log.info({}, "snapshots are told again");
        this.#away = false;
        this.#connected = true;
        this.#unsupported = false;
        const answer = this.#hear(response);
        if (answer !== null) requests.push(this.#answerToWire(answer));
      }
    } finally {
      clearTimeout(alarm);
      lost.abort();
    }
  }

  #subscription(): WatchSnapshotsRequest {
    const { kinds } = clientSubscribe(this.#state);
    const versions = (of: (kind: (typeof kinds)[number]) => number): string[] =>
      kinds.flatMap((one) => (of(one) === 0 ? [] : [snapshotVersion(one.kind, of(one))]));
    return create(WatchSnapshotsRequestSchema, {
      instanceId: this.#options.instanceId,
      kinds: kinds.map(({ kind }) => kind),
      acceptedVersions: versions(({ accepted }) => accepted),
      refusedVersions: versions(({ refused }) => refused),
    });
  }

  #hear({ snapshot, nonce, content, unchanged }: WatchSnapshotsResponse): SnapshotAnswer | null {
    const nowNs = this.#options.clock.nowNs();
    const named = parseSnapshotVersion(snapshot?.version ?? "");
    if (named === null) return null;
    const { kind, version } = named;
    if (unchanged) {
      clientUnchanged(this.#state, kind, version, nowNs);
      this.#heard(kind);
      return null;
    }
    const offer: SnapshotOffer = { kind, version, nonce };
    const step = clientOffer(this.#state, offer, nowNs);
    if (step.act === "ignore") return null;
    const answer = step.act === "answer" ? step.answer : this.#load(offer, content, nowNs);
    this.#heard(kind);
    return answer;
  }

  #load(offer: SnapshotOffer, bytes: Uint8Array, nowNs: MonoNs): SnapshotAnswer {
    const { kind, version } = offer;
    const name = snapshotVersion(kind, version);
    const content = decode(kind, bytes);
    const problem = typeof content === "string" ? content : this.#take(kind, content, name);
    if (problem !== null) {
      this.#options.log.warn({ version: name, problem }, "snapshot refused; the last good one stays in force");
      return clientRefuse(this.#state, offer, problem.slice(0, 256), nowNs);
    }
    this.#contents.set(kind, content);
    const { disk, clock } = this.#options;
    const heardWallMs = clock.wallMs();
    this.#touched.set(kind, heardWallMs);
    void disk?.write({ kind, version, content: bytes, heardWallMs });
    return clientAccept(this.#state, offer, nowNs);
  }

  #take(kind: SnapshotKind, content: unknown, name: string): string | null {
    const take = this.#options.take[kind] as TakeSnapshot<SnapshotKind> | undefined;
    try {
      return take?.(content as never, name) ?? null;
    } catch (failure) {
      return `it cannot be used: ${failure instanceof Error ? failure.message : String(failure)}`;
    }
  }

  #heard(kind: SnapshotKind): void {
    const { disk, clock, onHeard } = this.#options;
    const wallMs = clock.wallMs();
    if (this.freshness(kind).state === "fresh" && wallMs - (this.#touched.get(kind) ?? 0) >= touchEveryMs) {
      this.#touched.set(kind, wallMs);
      void disk?.touch(kind, wallMs);
    }
    onHeard?.(kind);
    for (const wake of this.#waiting) wake();
  }

  #heardWithin(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiting.add(done);
    });
  }

  #answerToWire(answer: SnapshotAnswer): WatchSnapshotsRequest {
    const { nonce, kind } = answer;
    const { accepted = 0 } = this.#state.kinds[kind] ?? {};
    const inForce = accepted === 0 ? {} : { acceptedVersion: snapshotVersion(kind, accepted) };
    const message = { instanceId: this.#options.instanceId, nonce, ...inForce };
    if (answer.type === "accepted") return create(WatchSnapshotsRequestSchema, message);
    const metadata = { problem: answer.reason, version: snapshotVersion(kind, answer.version) };
    const refused = create(ErrorDetailSchema, {
      reason: ErrorReason.SCHEMA_VALIDATION_ERROR,
      domain: "snapshots",
      metadata,
    });
    return create(WatchSnapshotsRequestSchema, { ...message, refused });
  }
}

/** The message, or why it is none. */
function decode(kind: SnapshotKind, bytes: Uint8Array): Message | string {
  try {
    const message = fromBinary(schemas[kind], bytes);
    const valid = validate(schemas[kind], message);
    if (valid.ok) return message;
    const [first] = valid.error.violations;
    return first === undefined ? valid.error.remedy : `${first.field}: ${first.message}`;
  } catch {
    return "its content cannot be read";
  }
}

/** What is said on the stream, as it is pushed; at most one answer per offer, so that it is bounded. */
class Requests implements AsyncIterable<WatchSnapshotsRequest> {
  readonly #queue: WatchSnapshotsRequest[] = [];
  readonly #signal: AbortSignal;
  #wake: () => void = () => undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake());
  }

  push(request: WatchSnapshotsRequest): void {
    this.#queue.push(request);
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchSnapshotsRequest, void> {
    while (!this.#signal.aborted) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
