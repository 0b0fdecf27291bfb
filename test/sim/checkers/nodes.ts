import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** Cancel grace of every session here, and what a host is given beyond its hooks' time (`kernel.md` §6). */
const graceMs = 75;
const slackMs = 100;
const lateMs = 60;

type NodeEvent = Extract<TraceEvent, { kind: "node" }>;

interface Instance {
  life: string;
  turn: number;
  ready: boolean;
  /** Asked to stop, or ended. */
  stopped: boolean;
  stopDueNs: number;
  gone: boolean;
  /** By command: when it was asked, and whether its cancel came. */
  open: Map<number, { askedNs: number; cancelled: boolean }>;
}

/**
 * Foreign nodes (F-011, F-012, F-036, F-109): given nothing before they are ready nor after their stop, never more at once
 * than they take, cut off where they take too long and ended where they do not heed that; none outlives its session.
 * A turn that lost one without a fallback does not commit (F2).
 */
export class NodesChecker extends BaseChecker {
  readonly name = "nodes";
  readonly #instances = new Map<string, Instance>();
  readonly #resumedNs = new Map<string, number>();
  readonly #failed = new Map<string, string>();
  readonly #stands: ReadonlySet<string>;

  /** @param stands ids of the nodes that have a fallback. */
  constructor(stands: ReadonlySet<string>) {
    super();
    this.#stands = stands;
  }

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "process") this.#resumedNs.set(event.proc, event.up ? atNs : Number.POSITIVE_INFINITY);
    if (event.kind === "signal") this.#signal(event.life, event.event);
    if (event.kind !== "node") return;
    const key = `${event.life} ${event.instance}`;
    const known = this.#instances.get(key);
    if (event.what === "opened") {
      if (known !== undefined) this.fail(`${key}: opened twice`);
      const { life, turn } = event;
      const made = { life, turn, ready: false, stopped: false, stopDueNs: 0, gone: false, open: new Map() };
      this.#instances.set(key, made);
    } else if (known !== undefined) this.#step(key, known, event, atNs);
  }

  #step(key: string, of: Instance, { what, command, limits }: NodeEvent, atNs: number): void {
    switch (what) {
      case "ready":
        of.ready = true;
        return;
      case "event":
        if (!of.ready) this.fail(`${key}: given something before it was ready`);
        if (of.stopped) this.fail(`${key}: given something after its stop`);
        this.#overdue(key, of, limits, atNs);
        of.open.set(command, { askedNs: atNs, cancelled: false });
        if (of.open.size > limits.maxInFlight) this.fail(`${key}: ${of.open.size} of ${limits.maxInFlight} in flight`);
        return;
      case "answered":
      case "acked":
        this.#overdue(key, of, limits, atNs);
        of.open.delete(command);
        return;
      case "cancel": {
        const one = of.open.get(command);
        if (one !== undefined) one.cancelled = true;
        return;
      }
      case "stop":
        of.stopped = true;
        of.stopDueNs = atNs + (limits.hookTimeoutMs + slackMs) * 1e6;
        return;
      case "kill":
      case "gone":
        this.#overdue(key, of, limits, atNs);
        of.stopped = true;
        of.gone = true;
        of.open.clear();
        return;
      default:
    }
  }

  /** Nothing is in flight past its time, its cancel's grace included. */
  #overdue(key: string, of: Instance, { eventTimeoutMs }: NodeEvent["limits"], atNs: number): void {
    const resumedNs = this.#resumedNs.get(of.life.slice(0, of.life.indexOf("."))) ?? 0;
    for (const [command, { askedNs, cancelled }] of of.open) {
      const dueNs = Math.max(askedNs + (eventTimeoutMs + (cancelled ? graceMs : 0)) * 1e6, resumedNs);
      if (atNs > dueNs + lateMs * 1e6)
        this.fail(`${key}: command ${command} is ${Math.round((atNs - dueNs) / 1e6)} ms past its time`);
    }
    if (of.stopDueNs > 0 && !of.gone && atNs > Math.max(of.stopDueNs, resumedNs) + lateMs * 1e6)
      this.fail(`${key}: did not stop and was not ended`);
  }

  #signal(
    life: string,
    { signal, turn, reason, fields, emitter }: Extract<TraceEvent, { kind: "signal" }>["event"],
  ): void {
    const key = `${life}#${turn}`;
    const told = signal === "node_error" && emitter === "node_host" && turn > 0 && reason !== "undeclared_emission";
    if (told && !this.#stands.has(String(fields.node))) this.#failed.set(key, `${fields.node} (${reason})`);
    if (signal === "commit" && this.#failed.has(key)) this.fail(`${key}: committed without ${this.#failed.get(key)}`);
    if (signal === "commit" || signal === "abort") this.#failed.delete(key);
  }

  override end(run: RunEnd): void {
    const over = new Set(run.lives.filter((life) => life.over && !life.crashed).map((life) => life.id));
    for (const [key, of] of this.#instances)
      if (!of.gone && over.has(of.life)) this.fail(`${key}: outlived its session`);
  }
}
