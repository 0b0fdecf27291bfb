/** The registry's view of the instances, kept and bounded in age (F-159): asked again before an older one is acted on. */
import { nsToMs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import type { InstanceStatus, RoutingView } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { Clock } from "@rspp/ports/clock";
import type { RpcConnection } from "@rspp/rpc/clients";
import { limits } from "./link-limits.ts";

export interface RoutingViewOptions {
  readonly clock: Clock;
  readonly registry: RpcConnection;
  /** The registry is away, and an older view than its bound allows is acted on. */
  readonly onStale?: (version: string, ageMs: number) => void;
}

export interface RoutingViewStats {
  readonly version: string;
  /** Since it was last known to be current, milliseconds; 0 before the first. */
  readonly ageMs: number;
  /** The last look at the registry failed, and the view is past its bound. */
  readonly stale: boolean;
  readonly refreshes: number;
}

export class RoutingViewCache {
  readonly #clock: Clock;
  readonly #registry: RpcConnection;
  readonly #onStale: (version: string, ageMs: number) => void;
  #view: RoutingView | null = null;
  #byId = new Map<string, InstanceStatus>();
  #currentAtNs = 0;
  #askedAtNs = Number.NEGATIVE_INFINITY;
  #asking: Promise<boolean> | null = null;
  #refreshes = 0;
  #doubted = false;
  /** The view came by snapshot: it says nothing of load. */
  #pushed = false;

  constructor({ clock, registry, onStale = () => undefined }: RoutingViewOptions) {
    this.#clock = clock;
    this.#registry = registry;
    this.#onStale = onStale;
  }

  /** A snapshot of the view, or word that the last is current (null): while they come nobody is asked. */
  push(view: RoutingView | null): void {
    if (view === null && (!this.#pushed || this.#view === null)) return;
    if (view !== null) this.#hold(view);
    this.#pushed = true;
    this.#currentAtNs = this.#clock.nowNs();
  }

  /** The instance, null when the registry knows none of that id; `away` when it cannot be asked and the last view does not help. */
  async find(instanceId: string): Promise<Result<InstanceStatus | null, "away">> {
    const view = await this.#current(() => this.#byId.has(instanceId));
    return view ? ok(this.#byId.get(instanceId) ?? null) : err("away");
  }

  /** Of a role, those that take new sessions. */
  async ready(role: string): Promise<Result<readonly InstanceStatus[], "away">> {
    // Among several the least loaded is chosen, which a pushed view cannot tell.
    const view = await this.#current(() => !this.#pushed);
    if (!view && this.#view === null) return err("away");
    return ok([...this.#byId.values()].filter((it) => it.role === role && it.ready && !it.draining));
  }

  /** Something of it did not hold: it is asked for again before it is next acted on, however young it is. */
  doubt(): void {
    this.#doubted = true;
  }

  /** Addresses in the view; empty before the first. */
  addresses(): ReadonlySet<string> {
    return new Set([...this.#byId.values()].map((instance) => instance.address));
  }

  stats(): RoutingViewStats {
    const ageMs = this.#ageMs();
    const stale = this.#view !== null && ageMs > this.#boundMs() && this.#askedAtNs > this.#currentAtNs;
    return { version: this.#view?.version ?? "", ageMs, stale, refreshes: this.#refreshes };
  }

  /** Whether there is a view to act on: current, or the last one while the registry is away and it is not too old. */
  async #current(suffices: () => boolean): Promise<boolean> {
    const young = this.#view !== null && this.#ageMs() <= this.#boundMs();
    if (young && suffices() && !this.#doubted) return true;
    // An id nobody knows, or a runtime that is gone, must not make every opening ask.
    const sinceMs = nsToMs(this.#clock.nowNs() - this.#askedAtNs);
    if (young && sinceMs < limits.VIEW_REFRESH_EVERY_MS && this.#asking === null) return true;
    if (await this.#refresh()) return true;
    if (this.#view === null || !suffices() || this.#ageMs() > limits.VIEW_SERVED_STALE_MS) return false;
    if (!young) this.#onStale(this.#view.version, this.#ageMs());
    return true;
  }

  #refresh(): Promise<boolean> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #ask(): Promise<boolean> {
    const askedAtNs = this.#clock.nowNs();
    this.#askedAtNs = askedAtNs;
    this.#doubted = false;
    try {
      // A pushed one says nothing of load: the whole is asked for.
      const knownVersion = this.#pushed ? "" : (this.#view?.version ?? "");
      const { view } = await this.#registry.client(InstanceService).getRoutingView({ knownVersion });
      if (view !== undefined) {
        this.#hold(view);
        this.#pushed = false;
      }
      if (this.#view === null) return false;
      // It was current when it was asked for; the way back only adds to its age.
      this.#currentAtNs = askedAtNs;
      this.#askedAtNs = askedAtNs;
      this.#refreshes += 1;
      return true;
    } catch {
      this.#askedAtNs = this.#clock.nowNs();
      return false;
    }
  }

  #hold(view: RoutingView): void {
    this.#view = view;
    this.#byId = new Map(view.instances.map((instance) => [instance.instanceId, instance]));
  }

  #ageMs(): number {
    return this.#view === null ? 0 : nsToMs(this.#clock.nowNs() - this.#currentAtNs);
  }

  #boundMs(): number {
    return this.#view?.maxStalenessMs || limits.VIEW_STALENESS_DEFAULT_MS;
  }
}
