/**
 * The snapshots of this replica: what the database says is the newest of each kind, kept in memory for the watchers. Rounds
 * make the content of every kind anew; several replicas may do so, one at a time per kind, and the database has the number.
 */
import { limits } from "@rspp/protocol/limits";
import { SNAPSHOT_KINDS, type SnapshotKind, snapshotVersion } from "@rspp/protocol/snapshot-watch-types";
import { describeFailure, type Log } from "@rspp/rpc/log";
import type { SnapshotStore, StoredSnapshot } from "@rspp/store/snapshot-store";
import type { KeptBack } from "./consistency.ts";
import { type ContentPorts, makeContent } from "./contents.ts";

export interface HubOptions {
  readonly store: SnapshotStore;
  readonly contents: ContentPorts;
  readonly log: Pick<Log, "info" | "warn">;
  /** Milliseconds, rising. */
  readonly nowMs: () => number;
  /** A round at least so often, should a notification be lost, milliseconds; default 1000. */
  readonly everyMs?: number;
}

export interface Refusal {
  readonly instanceId: string;
  readonly version: string;
  readonly reason: string;
}

const refusalsMax = 64;
const roundEveryMs = 1_000;

export class SnapshotHub {
  readonly #options: HubOptions;
  readonly #current = new Map<SnapshotKind, StoredSnapshot>();
  readonly #keptBack = new Map<SnapshotKind, readonly KeptBack[]>();
  readonly #listeners = new Set<() => void>();
  readonly #refusals: Refusal[] = [];
  #refusalCount = 0;
  #readMs = Number.NEGATIVE_INFINITY;
  #away = false;
  #round: Promise<void> | null = null;
  #again = false;
  #timer: NodeJS.Timeout | null = null;
  readonly #wakers: { close(): void }[] = [];
  #closed = false;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** Begins its rounds. @param more what else wakes it, e.g. a document that came into force. */
  start(...more: readonly ((wake: () => void) => { close(): void })[]): void {
    const wake = (): void => this.wake();
    for (const listen of [this.#options.store.onChange, ...more]) this.#wakers.push(listen(wake));
    this.wake();
  }

  /** A round soon: something may have changed. */
  wake(): void {
    if (this.#closed) return;
    if (this.#round !== null) {
      this.#again = true;
      return;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#round = this.#run().finally(() => {
      this.#round = null;
      if (this.#closed) return;
      if (this.#again) {
        this.#again = false;
        return this.wake();
      }
      this.#timer = setTimeout(() => this.wake(), this.#options.everyMs ?? roundEveryMs);
      this.#timer.unref();
    });
  }

  /** Newest of a kind; undefined before the first. */
  newest(kind: SnapshotKind): StoredSnapshot | undefined {
    return this.#current.get(kind);
  }

  /** What it has is what the database had a moment ago: only then may a watcher be told that it is current. */
  get inTouch(): boolean {
    return this.#options.nowMs() - this.#readMs <= limits.SNAPSHOT_UNCHANGED_EVERY_MS * 2;
  }

  keptBack(kind: SnapshotKind): readonly KeptBack[] {
    return this.#keptBack.get(kind) ?? [];
  }

  refusals(kind: SnapshotKind): readonly Refusal[] {
    return this.#refusals.filter(({ version }) => version.startsWith(`${kind}@`));
  }

  get refusalCount(): number {
    return this.#refusalCount;
  }

  noteRefusal(refusal: Refusal): void {
    this.#refusalCount += 1;
    this.#refusals.unshift(refusal);
    this.#refusals.length = Math.min(this.#refusals.length, refusalsMax);
    this.#options.log.warn({ ...refusal }, "a watcher refused a snapshot");
  }

  /** A watcher has a version that this database never gave: it was set back. */
  raise(kind: SnapshotKind, above: number): void {
    this.#options.log.warn(
      { version: snapshotVersion(kind, above) },
      "a watcher has a newer snapshot: numbers go on after it",
    );
    void this.#options.store.raise(kind, above).then(
      () => this.wake(),
      () => undefined,
    );
  }

  /** Calls `changed` when there may be news. */
  listen(changed: () => void): () => void {
    this.#listeners.add(changed);
    return () => void this.#listeners.delete(changed);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const waker of this.#wakers) waker.close();
    await this.#round;
  }

  async #run(): Promise<void> {
    try {
      for (const kind of SNAPSHOT_KINDS) await this.#make(kind);
      await this.#read();
      if (this.#away) this.#options.log.info({}, "snapshots are current again");
      this.#away = false;
    } catch (failure) {
      if (!this.#away && !this.#closed) {
        this.#options.log.warn(describeFailure(failure), "snapshots cannot be made; watchers keep their last");
      }
      this.#away = true;
    }
  }

  async #make(kind: SnapshotKind): Promise<void> {
    const { store, contents } = this.#options;
    let keptBack: readonly KeptBack[] = [];
    const made = await store.publish(
      kind,
      async (current) => {
        const { content, keptBack: back } = await makeContent(kind, contents, current);
        keptBack = back;
        return content;
      },
      contents.wallMs(),
    );
    if (made !== null) this.#noteKeptBack(kind, keptBack);
  }

  #noteKeptBack(kind: SnapshotKind, keptBack: readonly KeptBack[]): void {
    const before = this.keptBack(kind);
    this.#keptBack.set(kind, keptBack);
    for (const one of keptBack) {
      const known = before.some(({ subject, problem }) => subject === one.subject && problem === one.problem);
      if (!known) this.#options.log.warn({ ...one }, "a document is kept back from its snapshot");
    }
  }

  async #read(): Promise<void> {
    const known = Object.fromEntries([...this.#current].map(([kind, { version }]) => [kind, version]));
    const askedMs = this.#options.nowMs();
    const news = await this.#options.store.read(known);
    for (const snapshot of news) this.#current.set(snapshot.kind as SnapshotKind, snapshot);
    this.#readMs = askedMs;
    if (news.length === 0) return;
    for (const changed of [...this.#listeners]) changed();
  }
}
