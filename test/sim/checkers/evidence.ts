import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** Each accepted turn has one whole manifest before its terminal is told, and its addendum is chained to it (`kernel.md` §11). */
export class EvidenceChecker extends BaseChecker {
  readonly name = "evidence";
  readonly #opened = new Set<string>();
  readonly #manifests = new Map<string, string>();
  /** Terminals told without evidence: right only where its loss was declared. */
  readonly #early = new Map<string, string>();
  readonly #declaredLost = new Set<string>();

  /** T9: turns that opened in the very instant in which there was no room for their plan. */
  readonly #unaccounted = new Set<string>();
  readonly #openedNs = new Map<string, number>();
  #fullNow = false;

  see(event: TraceEvent, atNs: number): void {
    this.#t9(event, atNs);
    if (event.kind === "signal" && event.event.signal === "turn_open")
      this.#opened.add(`${event.life}#${event.event.turn}`);
    if (event.kind === "egress" && event.message.kind === "control") {
      const { signal, turn } = event.message;
      const told = signal === "commit" || signal === "abort";
      const key = `${event.life}#${turn}`;
      if (told && !this.#manifests.has(key)) this.#early.set(key, signal);
    }
    if (event.kind !== "record" || !event.appended) return;
    const record: { kind: string } = event.record;
    if (record.kind === "evidence_lost") return this.#lost(event.life, record);
    this.#appended(event.life, event.record);
  }

  /** A turn that cannot be accounted for ends; what ranks higher in its batch may end it first (`kernel.md` §2). */
  #t9(event: TraceEvent, atNs: number): void {
    if (event.kind === "fault" && event.name === "store_full_at_open") this.#fullNow = true;
    if (event.kind === "record" && event.record.kind === "plan") {
      const of = `${event.life}#${event.record.turn}`;
      if (this.#fullNow && !event.appended && this.#openedNs.get(of) === atNs) this.#unaccounted.add(of);
      this.#fullNow = false;
    }
    if (event.kind !== "signal") return;
    const { signal, turn } = event.event;
    const key = `${event.life}#${turn}`;
    if (signal === "turn_open") this.#openedNs.set(key, atNs);
    if (signal === "commit" && this.#unaccounted.has(key))
      this.fail(`${key}: committed, though there was no room for its evidence`);
  }

  #lost(life: string, record: object): void {
    const { lost } = record as { lost: { kind: string; turn: number }[] };
    for (const { turn } of lost) this.#declaredLost.add(`${life}#${turn}`);
  }

  #appended(life: string, record: Extract<TraceEvent, { kind: "record" }>["record"]): void {
    if (record.kind === "evidence") this.#manifest(`${life}#${record.turn}`, record.hash, record.manifest);
    else if (record.kind === "delivery_addendum") {
      const { linkedTo } = linkOf(record.addendum);
      const manifest = this.#manifests.get(`${life}#${record.turn}`);
      const declared = manifest === undefined && this.#declaredLost.has(`${life}#${record.turn}`);
      if (!declared && linkedTo !== manifest)
        this.fail(`${life}#${record.turn}: the addendum is not linked to its manifest`);
    }
  }

  override end(run: RunEnd): void {
    const crashed = new Set(run.lives.filter((life) => life.crashed || life.lostAtEnd).map((life) => life.id));
    const lostAtEnd = new Set(run.lives.filter((life) => life.lostAtEnd).map((life) => life.id));
    for (const key of this.#opened) {
      // What a killed process had not appended is declared lost by its successor.
      if (this.#declaredLost.has(key)) continue;
      if (!this.#manifests.has(key) && !crashed.has(key.slice(0, key.lastIndexOf("#"))))
        this.fail(`${key}: no evidence`);
    }
    for (const [key, signal] of this.#early) {
      const excused = this.#declaredLost.has(key) || lostAtEnd.has(key.slice(0, key.lastIndexOf("#")));
      if (!excused) this.fail(`${key}: ${signal} was told before its evidence was appended`);
    }
    let torn = 0;
    for (const { proc, problems } of run.spools) {
      for (const { kind, reason } of problems) {
        if (kind === "torn") torn += 1;
        else if (kind !== "gap") this.fail(`${proc}: spool ${kind}: ${reason}`);
      }
    }
    if (torn > run.tornOrdered) this.fail(`the spools found ${torn} torn tails, ${run.tornOrdered} were made`);
    for (const { proc, halted } of run.exports) if (halted !== "") this.fail(`${proc}: export halted: ${halted}`);
  }

  #manifest(key: string, hash: string, manifest: unknown): void {
    if (this.#manifests.has(key)) this.fail(`${key}: two manifests`);
    this.#manifests.set(key, hash);
    const m = (manifest as { manifest: Record<string, unknown> }).manifest;
    for (const field of [
      "sessionId",
      "turn",
      "planHash",
      "epochAtOpen",
      "epochAtTerminal",
      "opened",
      "terminal",
      "closed",
    ]) {
      if (m[field] === undefined || m[field] === null || m[field] === "")
        this.fail(`${key}: manifest without ${field}`);
    }
  }
}

function linkOf(addendum: unknown): { linkedTo: string } {
  return { linkedTo: (addendum as { manifestHash?: string }).manifestHash ?? "" };
}
