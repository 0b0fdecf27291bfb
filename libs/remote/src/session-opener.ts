/** Opens sessions on whichever runtime their token names: routing view, lease, link; or the runtime of this very process. */
import { randomBytes } from "node:crypto";
import { asMonoNs, monoPlusNs, msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import type { RoutingView } from "@rspp/gen/rspp/registry/v1/registry_pb";
import type { TimerHandle } from "@rspp/ports/clock";
import type { OpenedSession, OpenRefusal, SessionRequest, SessionSeen } from "@rspp/ports/session-opener";
import { AdapterSession } from "./link-adapter-session.ts";
import type { AdapterCounts, AdapterSessionInit } from "./link-adapter-types.ts";
import { limits } from "./link-limits.ts";
import { LinkPool } from "./link-pool.ts";
import type {
  GrantVerifier,
  OpenerNotice,
  RemoteOpenerStats,
  RemoteSessionOpener,
  RemoteSessionOpenerOptions,
} from "./link-session-types.ts";
import { RoutingViewCache } from "./routing-view.ts";
import { createSessionMover, type Moved, type SessionMover } from "./session-mover.ts";
import { createGrantVerifier } from "./session-opener-grants.ts";
import { giveBack, grantLease, type LeaseAsk, leaseToAdopt } from "./session-opener-lease.ts";

export function createRemoteSessionOpener(options: RemoteSessionOpenerOptions): RemoteSessionOpener {
  return new Opener(options);
}

/** Where a session is to live. */
interface Target {
  readonly instance: string;
  /** "" for the runtime of this process. */
  readonly address: string;
}

class Opener implements RemoteSessionOpener {
  readonly #options: RemoteSessionOpenerOptions;
  readonly #view: RoutingViewCache;
  readonly #pool: LinkPool;
  readonly #grants: GrantVerifier;
  readonly #sessions = new Set<AdapterSession>();
  readonly #refused = new Map<string, number>();
  readonly #counts: AdapterCounts = {
    ...{ reattached: 0, failedOver: 0, migrated: 0, adopted: 0, lost: 0, duplicates: 0 },
    unsent: new Map(),
  };
  readonly #mover: SessionMover | null;
  readonly #life: string;
  #opened = 0;
  #asked = 0;
  #sweep: TimerHandle | null = null;
  #closed = false;

  constructor(options: RemoteSessionOpenerOptions) {
    this.#options = options;
    const { clock, registry, adapterId, build, link = {}, domain = "transport" } = options;
    this.#life = link.lifeId ?? randomBytes(9).toString("base64url");
    const notice = (it: OpenerNotice): void => options.onNotice?.(it);
    const onStale = (version: string, ageMs: number): void => notice({ kind: "view_stale", version, ageMs });
    this.#view = new RoutingViewCache({ clock, registry, onStale });
    this.#pool = new LinkPool({ clock, adapterId, build, domain, link, lifeId: this.#life, notice });
    this.#grants = options.grants ?? createGrantVerifier(options.lease, clock);
    const { lease, deadlines = {}, failover = true } = options;
    const moving = { registry, lease, view: this.#view, pool: this.#pool, adapterId };
    this.#mover = failover ? createSessionMover({ ...moving, termMs: deadlines.leaseTermMs ?? 0 }) : null;
    void this.#warm();
    this.#arm();
  }

  readonly open = async (request: SessionRequest): Promise<Result<OpenedSession, OpenRefusal>> => {
    const opened = await this.#open(request).catch(
      (): Result<OpenedSession, OpenRefusal> =>
        refuse("runtime_internal_error", "The session could not be opened: report it with the session id."),
    );
    if (opened.ok) this.#opened += 1;
    else this.#refused.set(opened.error.reason, (this.#refused.get(opened.error.reason) ?? 0) + 1);
    return opened;
  };

  stats(): RemoteOpenerStats {
    return {
      view: this.#view.stats(),
      links: this.#pool.all().map(({ address, up, sessions }) => ({ address, up, sessions })),
      sessions: this.#sessions.size,
      opened: this.#opened,
      reattached: this.#counts.reattached,
      failedOver: this.#counts.failedOver,
      migrated: this.#counts.migrated,
      adopted: this.#counts.adopted,
      lost: this.#counts.lost,
      refused: Object.fromEntries(this.#refused),
      unsent: Object.fromEntries(this.#counts.unsent),
      duplicates: this.#counts.duplicates,
    };
  }

  routing(view: RoutingView | null): void {
    this.#view.push(view);
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.clear();
    for (const session of [...this.#sessions]) session.stop("draining");
    this.#pool.close();
  }

  async #open(request: SessionRequest): Promise<Result<OpenedSession, OpenRefusal>> {
    if (this.#closed) return refuse("draining", "This adapter stops: connect to another.");
    const { clock, deadlines = {}, lease, local, adapterId } = this.#options;
    const openMs = Math.min(deadlines.openMs ?? limits.LINK_OPEN_DEADLINE_MS, limits.LINK_OPEN_DEADLINE_MS);
    const deadlineNs = clock.nowNs() + msToNs(openMs);
    if (request.adopt !== undefined) return this.#adopt(request, request.adopt, deadlineNs);
    const target = await this.#within(deadlineNs, this.#target(request.claims.instance));
    if (!target.ok) return target;
    const { instance, address } = target.value;
    this.#asked += 1;
    const ask: LeaseAsk = {
      claims: request.claims,
      adapterId,
      instance,
      termMs: deadlines.leaseTermMs ?? 0,
      idempotencyKey: `${this.#life}-${this.#asked}`,
    };
    const leasing = grantLease(lease, ask);
    const leased = await this.#within(deadlineNs, leasing);
    if (!leased.ok) {
      // A grant that comes too late is nobody's.
      void leasing.then((late) => (late.ok ? giveBack(lease, ask, late.value) : undefined));
      return leased;
    }
    const { grant, epoch } = leased.value;
    const opened =
      address === "" && local !== undefined
        ? await local.open(request, grant)
        : await this.#openLink(request, { grant, epoch, instance, address, deadlineNs });
    // A runtime that was started again may be somewhere else under its name.
    if (!opened.ok && address !== "" && opened.error.reason === "dependency_unavailable") this.#view.doubt();
    if (!opened.ok) void giveBack(lease, ask, leased.value, opened.error);
    return opened;
  }

  async #openLink(
    request: SessionRequest,
    to: Target & { grant: SignedGrant; epoch: number; deadlineNs: number },
  ): Promise<Result<OpenedSession, OpenRefusal>> {
    const link = this.#pool.of(to.address);
    link.acquire();
    return this.#bind(request, { ...to, link });
  }

  /** A live session of another adapter: it leaves its runtime, which may wait for that adapter still (kernel.md §7). */
  async #adopt(
    request: SessionRequest,
    seen: SessionSeen,
    deadlineNs: number,
  ): Promise<Result<OpenedSession, OpenRefusal>> {
    const { lease } = this.#options;
    const { claims } = request;
    if (this.#mover === null) return refuse("not_found", "The session is not known here: open a new one.");
    const held = await this.#within(deadlineNs, leaseToAdopt(lease, claims));
    if (!held.ok) return held;
    const { holder: instance, epoch } = held.value;
    this.#asked += 1;
    const key = `${this.#life}-${this.#asked}`;
    const from = { why: "lost", target: "", stateVersion: 0, instance, epoch } as const;
    const about = { claims, from: instance, epoch, why: "migration", target: "", avoid: [], key } as const;
    const turns = { openTurn: seen.openTurn?.turn ?? 0, lastTurn: seen.lastTurn };
    const moved = await this.#within(deadlineNs, this.#mover.move({ ...about, ...turns }));
    if (!moved.ok) return moved;
    return this.#bind(request, { ...moved.value, deadlineNs, adopts: { from, seen } });
  }

  #bind(
    request: SessionRequest,
    to: Moved & { deadlineNs: number; adopts?: NonNullable<AdapterSessionInit["adopts"]> },
  ): Promise<Result<OpenedSession, OpenRefusal>> {
    const { clock, adapterId, deadlines = {}, onNotice } = this.#options;
    const session = new AdapterSession({
      clock,
      request,
      instance: to.instance,
      adapterId,
      grant: to.grant,
      epoch: to.epoch,
      link: to.link,
      ...(to.adopts === undefined ? {} : { adopts: to.adopts }),
      grants: this.#grants,
      readyMs: deadlines.readyMs ?? limits.LINK_READY_MS,
      mover: this.#mover,
      failoverAfterMs: Math.min(deadlines.failoverAfterMs ?? limits.FAILOVER_AFTER_MS, limits.FAILOVER_AFTER_MS_MAX),
      counts: this.#counts,
      notice: (notice) => onNotice?.(notice),
      onOver: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
    return session.open(to.deadlineNs);
  }

  async #target(wanted: string): Promise<Result<Target, OpenRefusal>> {
    const { local } = this.#options;
    if (local !== undefined && (wanted === "" || wanted === local.instance)) {
      return ok({ instance: local.instance, address: "" });
    }
    const away = refuse("dependency_unavailable", "The registry is out of reach: try again later.");
    if (wanted === "") return this.#anyRuntime(away);
    const found = await this.#view.find(wanted);
    if (!found.ok) return away;
    const instance = found.value;
    if (instance === null || instance.role !== "runtime" || instance.address === "") {
      return refuse("not_found", "The runtime of this route is not known any more: ask for a new route.");
    }
    if (instance.draining)
      return refuse("draining", "The runtime of this route takes no new sessions: ask for a new route.");
    return ok({ instance: instance.instanceId, address: instance.address });
  }

  async #anyRuntime(away: Result<Target, OpenRefusal>): Promise<Result<Target, OpenRefusal>> {
    const ready = await this.#view.ready("runtime");
    if (!ready.ok) return away;
    const free = ready.value.filter((it) => it.address !== "" && it.sessions < it.capacitySessions);
    const [first, ...rest] = free;
    if (first === undefined) return refuse("capacity_exhausted", "No runtime has room: try again later.");
    const best = rest.reduce(
      (a, b) => (b.sessions / b.capacitySessions < a.sessions / a.capacitySessions ? b : a),
      first,
    );
    return ok({ instance: best.instanceId, address: best.address });
  }

  /** The answer, or a refusal at the deadline. */
  async #within<T>(deadlineNs: number, work: Promise<Result<T, OpenRefusal>>): Promise<Result<T, OpenRefusal>> {
    const { clock } = this.#options;
    let timer: TimerHandle | null = null;
    const late = new Promise<Result<T, OpenRefusal>>((resolve) => {
      timer = clock.timerAt(asMonoNs(Math.ceil(deadlineNs)), () =>
        resolve(refuse("dependency_unavailable", "The platform did not answer in time: try again later.")),
      );
    });
    const answer = await Promise.race([work, late]);
    (timer as TimerHandle | null)?.clear();
    return answer;
  }

  async #warm(): Promise<void> {
    const { link = {}, local } = this.#options;
    if (link.warm !== true) return;
    const ready = await this.#view.ready("runtime");
    if (!ready.ok || this.#closed) return;
    this.#pool.warm(ready.value.filter((it) => it.instanceId !== local?.instance).map((it) => it.address));
  }

  #arm(): void {
    const { clock } = this.#options;
    this.#sweep = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(limits.LINK_SWEEP_MS)), () => {
      this.#pool.sweep(this.#view.addresses());
      if (this.#closed) return;
      void this.#warm();
      this.#arm();
    });
  }
}

function refuse(reason: OpenRefusal["reason"], remedy: string): { readonly ok: false; readonly error: OpenRefusal } {
  return err({ reason, remedy });
}
