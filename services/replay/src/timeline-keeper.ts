/**
 * Takes records of all chains and makes them durable: what comes of a tenant within a moment goes into one object, written
 * and synced once, and into the index in one transaction, so that load makes objects larger, not more.
 */
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { describeFailure, type Log } from "@rspp/rpc/log";
import type { SessionKey } from "@rspp/store/state-store";
import { StoreError } from "@rspp/store/store-error";
import { Chain, type Neighbours, type Pending, type Sender, type Taken } from "./chain.ts";
import { Gathering } from "./gathering.ts";
import { limits } from "./limits.ts";
import { isSessionEnd, type NewSegment, ObjectKeys, type SegmentStores, writeObject } from "./segment-writer.ts";

/** An append stream, as the keeper sees it. */
export interface AppendClient extends Sender {
  /** A chain it sent to is durable up to here. */
  acknowledged(chain: KeptChain): void;
  /** What it sent could not be stored: it must begin again from what is acknowledged. */
  failed(failure: unknown): void;
}

export type KeptChain = Chain<AppendClient>;

interface Session {
  readonly chains: Map<number, KeptChain>;
  /** Of epochs whose chains are not in memory, rising. */
  readonly heads: Map<number, { lastSequence: number; digest: Uint8Array }>;
}

export interface KeeperOptions extends SegmentStores {
  readonly log: Log;
  /** Runs `fire` after `ms`. */
  readonly after: (ms: number, fire: () => void) => void;
  readonly wallMs: () => number;
}

interface Tenant {
  readonly tenantId: string;
  readonly gathering: Gathering<KeptChain>;
}

interface Segment extends NewSegment {
  readonly chain: KeptChain;
  readonly items: readonly Pending<AppendClient>[];
}

const nothing = new Uint8Array(0);

export class TimelineKeeper {
  readonly #options: KeeperOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #loading = new Map<string, Promise<Session>>();
  readonly #tenants = new Map<string, Tenant>();
  readonly #queue: Tenant[] = [];
  readonly #keys = new ObjectKeys();
  readonly #watchers = new Map<string, Set<() => void>>();
  #writers = 0;
  #idle: (() => void)[] = [];

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** How far a chain is acknowledged. */
  async position(session: SessionKey, epoch: number): Promise<{ stored: number; head: Uint8Array }> {
    const kept = await this.#session(session);
    const chain = kept.chains.get(epoch);
    if (chain !== undefined) return { stored: chain.stored, head: chain.storedHead };
    const head = kept.heads.get(epoch);
    return { stored: head?.lastSequence ?? 0, head: head?.digest ?? nothing };
  }

  /** Something of the session is about to come. */
  expect(session: SessionKey): void {
    // Whoever brings it is told what went wrong.
    if (!this.#sessions.has(keyOf(session))) this.#session(session).catch(() => undefined);
  }

  /** The chain that records of (session, epoch) go to. Rejects with a StoreError. */
  async chain(session: SessionKey, epoch: number): Promise<KeptChain> {
    const kept = await this.#session(session);
    const known = kept.chains.get(epoch);
    if (known !== undefined && !known.broken) return known;
    const head = kept.heads.get(epoch);
    const made: KeptChain = new Chain(session, epoch, head?.lastSequence ?? 0, head?.digest ?? nothing);
    kept.chains.set(epoch, made);
    return made;
  }

  /** Synchronous, so that records of one stream stay in order. The chain is of {@link chain}, asked a moment before. */
  take(chain: KeptChain, record: TimelineRecord, client: AppendClient): Taken {
    const taken = chain.take(record, client, this.#neighbours(chain));
    if (taken.kind === "fresh") {
      this.#tenant(chain.session.tenantId).gathering.add(chain, taken.bytes, isSessionEnd(record));
    }
    return taken;
  }

  /** Calls `stored` whenever something of the session became durable here. @returns how to stop. */
  watch(session: SessionKey, stored: () => void): () => void {
    const key = keyOf(session);
    const watchers = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, watchers);
    watchers.add(stored);
    return () => {
      watchers.delete(stored);
      if (watchers.size === 0) this.#watchers.delete(key);
    };
  }

  /** A sender has no more room: what waits goes as soon as it may. */
  hurry(): void {
    for (const { gathering } of this.#tenants.values()) gathering.hurry();
  }

  /** Settles when nothing waits to be stored. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    this.hurry();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #isIdle(): boolean {
    return [...this.#tenants.values()].every(({ gathering }) => gathering.idle);
  }

  #neighbours(chain: KeptChain): Neighbours {
    const kept = this.#sessions.get(keyOf(chain.session));
    let floor = 0;
    let before = 0;
    for (const epoch of kept === undefined ? [] : [...kept.heads.keys(), ...kept.chains.keys()]) {
      const begun = (kept?.chains.get(epoch)?.accepted ?? 0) > 0 || kept?.heads.has(epoch) === true;
      if (!begun) continue;
      floor = Math.max(floor, epoch);
      if (epoch < chain.epoch) before = Math.max(before, epoch);
    }
    const predecessorHead = kept?.chains.get(before)?.head ?? kept?.heads.get(before)?.digest ?? nothing;
    return { floor, predecessorHead };
  }

  #session(session: SessionKey): Promise<Session> {
    const key = keyOf(session);
    const known = this.#sessions.get(key);
    if (known !== undefined) {
      // Least recently used goes first.
      this.#sessions.delete(key);
      this.#sessions.set(key, known);
      return Promise.resolve(known);
    }
    const under = this.#loading.get(key);
    if (under !== undefined) return under;
    const loading = this.#load(session).finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    return loading;
  }

  async #load(session: SessionKey): Promise<Session> {
    const found = await this.#options.index.heads(session);
    const heads = found.map(
      ({ epoch, lastSequence, headDigest }): [number, Session["heads"] extends Map<number, infer H> ? H : never] => [
        epoch,
        { lastSequence, digest: new Uint8Array(Buffer.from(headDigest, "hex")) },
      ],
    );
    const made: Session = { chains: new Map(), heads: new Map(heads) };
    this.#makeRoom();
    this.#sessions.set(keyOf(session), made);
    return made;
  }

  #makeRoom(): void {
    for (const [key, { chains }] of this.#sessions) {
      if (this.#sessions.size < limits.SESSIONS_MAX) return;
      if ([...chains.values()].every((chain) => chain.idle)) this.#sessions.delete(key);
    }
  }

  #tenant(tenantId: string): Tenant {
    const known = this.#tenants.get(tenantId);
    if (known !== undefined) return known;
    if (this.#tenants.size >= limits.TENANTS_KEPT) {
      for (const [id, { gathering }] of this.#tenants) if (gathering.spent) this.#tenants.delete(id);
    }
    const gathering = new Gathering<KeptChain>(this.#options.after, () => {
      this.#queue.push(made);
      this.#startWriters();
    });
    const made: Tenant = { tenantId, gathering };
    this.#tenants.set(tenantId, made);
    return made;
  }

  #startWriters(): void {
    while (this.#writers < limits.OBJECT_WRITERS_MAX) {
      const tenant = this.#queue.shift();
      if (tenant === undefined) return;
      this.#writers += 1;
      const chains = tenant.gathering.begin();
      void this.#write(tenant.tenantId, chains).finally(() => {
        this.#writers -= 1;
        tenant.gathering.done(chains.filter((chain) => !chain.broken && chain.pending.length > 0));
        this.#startWriters();
        if (this.#idle.length > 0 && this.#isIdle()) for (const done of this.#idle.splice(0)) done();
        else if (this.#idle.length > 0) this.hurry();
      });
    }
  }

  /** As much of the chains as goes into one object. Never rejects. */
  async #write(tenantId: string, chains: readonly KeptChain[]): Promise<void> {
    const segments = this.#segments(chains);
    if (segments.length === 0) return;
    try {
      const key = this.#keys.next(tenantId, this.#options.wallMs());
      const outcomes = await writeObject(this.#options, key, segments);
      for (const [i, { chain, items }] of segments.entries()) {
        const outcome = outcomes[i] ?? "does_not_follow";
        if (outcome === "does_not_follow") this.#giveUp(chain, anotherWriter());
        else if (outcome instanceof StoreError) this.#giveUp(chain, outcome);
        else {
          chain.segmentStored(items);
          this.#tell(chain, items);
        }
      }
    } catch (failure) {
      const records = segments.reduce((sum, { items }) => sum + items.length, 0);
      const told = { sessions: segments.length, records, ...describeFailure(failure) };
      this.#options.log.warn(told, "segments not stored");
      for (const { chain } of segments) this.#giveUp(chain, failure);
    } finally {
      for (const { chain } of segments) chain.writing = false;
    }
  }

  #segments(chains: readonly KeptChain[]): Segment[] {
    const room = { records: limits.OBJECT_RECORDS_MAX, bytes: limits.OBJECT_BYTES_MAX };
    const segments: Segment[] = [];
    for (const chain of chains) {
      const items = chain.broken ? [] : chain.nextSegment(room, segments.length === 0);
      if (items.length === 0) continue;
      room.records -= items.length;
      for (const { bytes } of items) room.bytes -= bytes.length;
      chain.writing = true;
      const { session, epoch } = chain;
      segments.push({
        chain,
        items,
        session,
        epoch,
        records: items.map(({ record }) => record),
        encoded: items.map(({ bytes }) => bytes),
        losses: chain.unlinked && chain.stored === 0 ? 1 : 0,
      });
    }
    return segments;
  }

  #tell(chain: KeptChain, items: readonly Pending<AppendClient>[]): void {
    for (const [client, sent] of Map.groupBy(items, ({ sender }) => sender)) {
      client.stored(
        sent.length,
        sent.reduce((sum, { bytes }) => sum + bytes.length, 0),
      );
      client.acknowledged(chain);
      chain.repeated.delete(client);
    }
    for (const client of chain.repeated) client.acknowledged(chain);
    if (chain.pending.length === 0) chain.repeated.clear();
    for (const stored of this.#watchers.get(keyOf(chain.session)) ?? []) stored();
  }

  /** What is durable is asked anew from the index; whoever sent the rest sends it again. */
  #giveUp(chain: KeptChain, failure: unknown): void {
    if (chain.broken) return;
    chain.broken = true;
    const clients = new Set([...chain.pending.map(({ sender }) => sender), ...chain.repeated]);
    chain.repeated.clear();
    chain.pending.length = 0;
    chain.pendingBytes = 0;
    this.#sessions.delete(keyOf(chain.session));
    for (const client of clients) client.failed(failure);
  }
}

function anotherWriter(): StoreError {
  return new StoreError("conflict", "Another process stored records of this chain", "Begin again from what is stored");
}

function keyOf({ tenantId, sessionId }: SessionKey): string {
  return JSON.stringify([tenantId, sessionId]);
}
