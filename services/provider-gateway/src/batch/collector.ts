/**
 * Collects one-shot calls that may go in one request (F-051): same provider, tenant and settings, the model being one of
 * these. A call is in when its input is complete. It waits `windowMs` at most and never into the time that its own attempt
 * needs for an answer, whatever the others have left.
 */
import { type MonoNs, monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink } from "@rspp/ports/provider";
import type { BatchCall, BatchRun, BatchTerms } from "./batch.ts";

/** Inputs of one call; more end it with `error`, since they are held until the call is complete. */
export const CALL_INPUTS_MAX = 256;
/** Characters and bytes of them together. */
export const CALL_SIZE_MAX = 1_048_576;

/** Why a batch was sent when it was. */
export type SentBecause = "full" | "window" | "deadline" | "alone";

export interface BatchWatch {
  sent(provider: string, items: number, because: SentBecause): void;
  /** Of one call: complete until sent. */
  waited(provider: string, ns: number): void;
  /** The provider threw; each call of the batch ended with `error`. */
  threw(): void;
}

interface Group {
  readonly key: string;
  readonly members: Member[];
  dueNs: MonoNs;
  because: SentBecause;
  timer: TimerHandle | null;
}

export class BatchCollector {
  readonly #clock: Clock;
  readonly #provider: string;
  readonly #terms: BatchTerms;
  readonly #watch: BatchWatch;
  readonly #groups = new Map<string, Group>();

  constructor(clock: Clock, provider: string, terms: BatchTerms, watch: BatchWatch) {
    this.#clock = clock;
    this.#provider = provider;
    this.#terms = terms;
    this.#watch = watch;
  }

  /** An invocation whose answer may come from a request that it shares. */
  open(request: InvocationOpen, sink: InvocationSink): Invocation {
    const openedNs = this.#clock.nowNs();
    const spare = Math.max(0, request.attemptTimeoutMs - this.#terms.answerMs);
    // No timeout is no hurry: the window decides.
    const latestNs = request.attemptTimeoutMs <= 0 ? null : monoPlusNs(openedNs, msToNs(spare));
    return new Member(request, sink, latestNs, {
      complete: (member) => this.#join(member),
      left: (member) => this.#leave(member),
    });
  }

  /** Groups that wait now. */
  get waiting(): number {
    return this.#groups.size;
  }

  #join(member: Member): void {
    const nowNs = this.#clock.nowNs();
    member.completeNs = nowNs;
    const key = keyOf(member.request);
    const windowNs = monoPlusNs(nowNs, msToNs(this.#terms.windowMs));
    const group = this.#groups.get(key) ?? { key, members: [], dueNs: windowNs, because: "window", timer: null };
    this.#groups.set(key, group);
    group.members.push(member);
    member.group = group;
    if (group.members.length >= this.#terms.itemsMax) return this.#send(group, "full");
    const latestNs = member.latestNs ?? group.dueNs;
    if (latestNs <= nowNs) return this.#send(group, "deadline");
    if (group.timer !== null && latestNs >= group.dueNs) return;
    if (latestNs < group.dueNs) {
      group.dueNs = latestNs;
      group.because = "deadline";
    }
    group.timer?.clear();
    group.timer = this.#clock.timerAt(group.dueNs, () => this.#send(group, group.because));
  }

  #leave(member: Member): void {
    const { group } = member;
    if (group === null) return;
    member.group = null;
    group.members.splice(group.members.indexOf(member), 1);
    if (group.members.length > 0) return;
    group.timer?.clear();
    this.#groups.delete(group.key);
  }

  #send(group: Group, because: SentBecause): void {
    group.timer?.clear();
    this.#groups.delete(group.key);
    const nowNs = this.#clock.nowNs();
    const { members } = group;
    for (const member of members) {
      member.group = null;
      this.#watch.waited(this.#provider, nowNs - member.completeNs);
    }
    this.#watch.sent(this.#provider, members.length, members.length === 1 ? "alone" : because);
    const shared: { run: BatchRun | null } = { run: null };
    for (const member of members) member.shared = shared;
    try {
      shared.run = this.#terms.run(members.map((member) => member.call));
    } catch {
      this.#watch.threw();
      for (const member of members) member.fail("the provider threw an exception");
    }
  }
}

/** Equal for calls that may share a request; unequal for another tenant's, whatever else they have in common. */
function keyOf({ tenantId = "", settings }: InvocationOpen): string {
  const sorted = Object.keys(settings).sort();
  return JSON.stringify([tenantId, sorted.map((name) => [name, settings[name]])]);
}

interface MemberOf {
  complete(member: Member): void;
  left(member: Member): void;
}

class Member implements Invocation {
  readonly request: InvocationOpen;
  readonly latestNs: MonoNs | null;
  readonly call: BatchCall;
  completeNs = 0;
  group: Group | null = null;
  shared: { run: BatchRun | null } | null = null;
  readonly #inputs: InvocationInput[] = [];
  readonly #of: MemberOf;
  readonly #sink: InvocationSink;
  #size = 0;
  #done = false;
  #complete = false;

  constructor(request: InvocationOpen, sink: InvocationSink, latestNs: MonoNs | null, of: MemberOf) {
    this.request = request;
    this.latestNs = latestNs;
    this.#of = of;
    this.#sink = sink;
    this.call = {
      request,
      inputs: this.#inputs,
      sink: {
        chunk: (chunk) => sink.chunk(chunk),
        outcome: (outcome) => {
          this.#done = true;
          sink.outcome(outcome);
        },
      },
    };
  }

  push(input: InvocationInput): void {
    if (this.#done || this.#complete) return;
    this.#size += sizeOf(input);
    if (this.#inputs.length >= CALL_INPUTS_MAX || this.#size > CALL_SIZE_MAX) {
      return this.fail(
        `more than ${CALL_INPUTS_MAX} inputs or ${CALL_SIZE_MAX} bytes for a call that is answered whole`,
      );
    }
    this.#inputs.push(input);
  }

  finish(): void {
    if (this.#done || this.#complete) return;
    this.#complete = true;
    if (this.#inputs.length > 0) return this.#of.complete(this);
    this.#done = true;
    this.#sink.outcome({ kind: "empty", detail: "finished without input" });
  }

  cancel(reason: string): void {
    if (this.#done) return;
    this.#done = true;
    this.#of.left(this);
    this.#sink.outcome({ kind: "cancelled", detail: "cancelled" });
    this.shared?.run?.cancel(this.call, reason);
  }

  fail(detail: string): void {
    if (this.#done) return;
    this.#done = true;
    this.#sink.outcome({ kind: "error", detail });
  }
}

function sizeOf(input: InvocationInput): number {
  if (input.kind === "audio") return input.bytes.length;
  if (input.kind === "text") return input.text.length;
  return input.messages.reduce((sum, { text }) => sum + text.length, 0);
}
