import { msToNs } from "@rspp/base/brand";
import fc from "fast-check";
import { expect, test } from "vitest";
import { limits } from "./limits.ts";
import type { LinkConfig, LinkInput, LinkRole } from "./link-types.ts";
import type { LinkNet, NetFaults, Observer } from "./testkit/link-net.ts";
import { netCreate, netReconnect, netRun, netStep } from "./testkit/link-net.ts";
import type { Output } from "./testkit/link-pair.ts";
import { constants, data, overtaking, positioned } from "./testkit/link-pair.ts";

// Two ends under a seeded network; the checker sees only what goes in and what comes out of each end.

const config: Partial<LinkConfig> = {
  windowAudioUs: 100_000,
  windowBytes: 4_000,
  initialAudioUs: 60_000,
  initialBytes: 2_560,
  dataQueueItemsMax: 12,
};

interface Seen {
  lastSeq: Record<string, number>;
  overtaken: number[];
  fences: { turn: number; generation: number }[];
  passedData: number;
  arrivedAtNs: Record<number, number>;
  gaps: number;
  forced: number;
}

class Checker {
  readonly seen = new Map<string, Seen>();
  incarnation = 1;

  at(role: LinkRole, ref: number): Seen {
    const key = `${role}/${this.incarnation}/${ref}`;
    const fresh = { lastSeq: {}, overtaken: [], fences: [], passedData: 0, arrivedAtNs: {}, gaps: 0, forced: 0 };
    const seen = this.seen.get(key) ?? fresh;
    this.seen.set(key, seen);
    return seen;
  }

  rising(role: LinkRole, ref: number, what: string, seq: number): void {
    const { lastSeq } = this.at(role, ref);
    expect(seq, `${what} in order at ${role}`).toBeGreaterThan(lastSeq[what] ?? 0);
    lastSeq[what] = seq;
  }

  observe: Observer = (role, input, outputs, nowNs) => {
    // A message sent before its session is there is refused and cuts nothing.
    if (!outputs.some((o) => o.kind === "send_refused")) this.input(role, input, nowNs);
    for (const output of outputs) this.output(role, output, nowNs);
  };

  input(role: LinkRole, input: LinkInput<string>, nowNs: number): void {
    if (input.kind === "send" && input.item.lane === "control" && input.item.class === "overtaking") {
      this.at(role, input.ref).fences.push(input.item.cutoff);
    }
    if (input.kind !== "frame" || input.incarnation !== this.incarnation) return;
    if (input.frame.kind === "positioned" || input.frame.kind === "overtaking") {
      this.at(role, input.frame.ref).arrivedAtNs[input.frame.seq] ??= nowNs;
    }
  }

  output(role: LinkRole, o: Output, nowNs: number): void {
    if (o.kind === "event") {
      const { turn, generation, lane, seq } = o.event;
      this.rising(role, o.ref, lane, seq);
      const cut = this.at(role, o.ref).fences.some((f) => f.turn === turn && generation < f.generation);
      expect(cut && lane === "data", "nothing of a fenced turn is delivered").toBe(false);
      if (lane === "data") this.passTo(role, o.ref, seq);
    } else if (o.kind === "skipped" || o.kind === "gap") {
      if (o.lane === "data") this.passTo(role, o.ref, o.toSeq);
      if (o.kind === "gap") this.at(role, o.ref).gaps++;
    } else if (o.kind === "frame_refused" && o.reason === "fenced") this.passTo(role, o.ref, o.seq);
    else if (o.kind === "overtaking") {
      const seen = this.at(role, o.ref);
      expect(seen.overtaken).not.toContain(o.seq);
      expect(seen.arrivedAtNs[o.seq], "overtaking acts on arrival").toBe(nowNs);
      seen.overtaken.push(o.seq);
      seen.fences.push(o.cutoff);
    } else if (o.kind === "positioned") this.positioned(role, o, nowNs);
  }

  positioned(role: LinkRole, o: Extract<Output, { kind: "positioned" }>, nowNs: number): void {
    const seen = this.at(role, o.ref);
    this.rising(role, o.ref, "positioned", o.seq);
    const waitedNs = nowNs - (seen.arrivedAtNs[o.seq] ?? Number.NaN);
    expect(waitedNs, "40 ms at most").toBeLessThanOrEqual(msToNs(limits.POSITIONED_WAIT_MS));
    if (o.forced) {
      seen.forced++;
      expect(waitedNs, "forced only after 40 ms").toBe(msToNs(limits.POSITIONED_WAIT_MS));
    } else expect(seen.passedData, "its media went before").toBeGreaterThanOrEqual(o.lastMediaSeq);
  }

  passTo(role: LinkRole, ref: number, seq: number): void {
    const seen = this.at(role, ref);
    seen.passedData = Math.max(seen.passedData, seq);
  }
}

function checkBounds(net: LinkNet): void {
  for (const end of Object.values(net.pair.ends)) {
    expect(end.unknown.length).toBeLessThanOrEqual(limits.LINK_UNKNOWN_REF_ITEMS_MAX);
    for (const s of Object.values(end.sessions)) {
      const { grantedAudioUs, grantedBytes, sentAudioUs, sentBytes } = s.outCredit;
      expect(Math.min(grantedAudioUs - sentAudioUs, grantedBytes - sentBytes)).toBeGreaterThanOrEqual(0);
      expect(s.inCredit.releasedAudioUs).toBeLessThanOrEqual(s.inCredit.arrivedAudioUs);
      expect(s.inCredit.arrivedAudioUs).toBeLessThanOrEqual(s.inCredit.toldAudioUs);
      const arrivedNotDone = s.inCredit.toldAudioUs - s.inCredit.releasedAudioUs;
      expect(arrivedNotDone).toBeLessThanOrEqual(end.config.windowAudioUs);
      expect(s.outData.items).toBeLessThanOrEqual(end.config.dataQueueItemsMax);
      expect(s.outTelemetry.items).toBeLessThanOrEqual(limits.LINK_TELEMETRY_QUEUE_ITEMS_MAX);
      expect(s.inData.hold.length).toBeLessThanOrEqual(limits.LINK_REORDER_ITEMS_MAX);
      expect(s.waiting.length).toBeLessThanOrEqual(limits.POSITIONED_WAITING_ITEMS_MAX);
    }
  }
}

type Op =
  | { op: "data"; role: LinkRole; ref: number; turn: number | null; generation: number; urgent: boolean; count: number }
  | { op: "positioned" | "telemetry" | "unbind"; role: LinkRole; ref: number }
  | { op: "overtaking"; role: LinkRole; ref: number; turn: number; generation: number }
  | { op: "bind"; role: LinkRole }
  | { op: "run"; ms: number }
  | { op: "reconnect" };

const role = fc.constantFrom<LinkRole>("adapter", "runtime");
// Mostly the first two, which every incarnation binds; the others come and go.
const ref = fc.constantFrom(1, 1, 1, 2, 2, 2, 3, 4);
const turn = fc.integer({ min: 1, max: 3 });
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      op: fc.constant("data" as const),
      role,
      ref,
      turn: fc.option(turn),
      generation: fc.integer({ min: 1, max: 2 }),
      urgent: fc.boolean(),
      count: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom("positioned" as const, "telemetry" as const), role, ref }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("overtaking" as const),
      role,
      ref,
      turn,
      generation: fc.constantFrom(2, 3),
    }),
  },
  { weight: 6, arbitrary: fc.record({ op: fc.constant("run" as const), ms: fc.integer({ min: 0, max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("bind" as const), role }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("unbind" as const), role, ref }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("reconnect" as const) }) },
);

/** The application: consumes each event at the next chance. */
function consumeAll(net: LinkNet, eaten: Record<LinkRole, number>): void {
  for (const r of ["adapter", "runtime"] as const) {
    const outputs = net.pair.outputs[r];
    for (; eaten[r] < outputs.length; eaten[r]++) {
      const o = outputs[eaten[r]];
      if (o?.kind !== "event" || o.event.lane !== "data") continue;
      if (o.event.payload !== `i${net.pair.ends[r].incarnation}`) continue;
      netStep(net, r, { kind: "consumed", ref: o.ref, audioUs: o.event.audioUs, bytes: o.event.bytes });
    }
  }
}

function apply(net: LinkNet, checker: Checker, o: Op): void {
  const payload = `i${checker.incarnation}`;
  switch (o.op) {
    case "data": {
      const item = data(payload, { turn: o.turn, generation: o.generation, urgent: o.urgent });
      for (let n = 0; n < o.count; n++) netStep(net, o.role, { kind: "send", ref: o.ref, item });
      return;
    }
    case "telemetry":
      netStep(net, o.role, { kind: "send", ref: o.ref, item: { lane: "telemetry", bytes: 9, payload } });
      return;
    case "positioned":
      netStep(net, o.role, { kind: "send", ref: o.ref, item: positioned(payload) });
      return;
    case "overtaking":
      netStep(net, o.role, { kind: "send", ref: o.ref, item: overtaking(payload, o.turn, o.generation) });
      return;
    case "unbind":
      netStep(net, o.role, { kind: "unbind", ref: o.ref, reason: "done" });
      return;
    case "bind":
      netStep(net, o.role, { kind: "bind", constants, supersedes: null });
      return;
    case "run":
      netRun(net, o.ms);
      return;
    case "reconnect":
      checker.incarnation++;
      netReconnect(net, checker.incarnation);
      for (const r of ["adapter", "runtime"] as const) netStep(net, r, { kind: "bind", constants, supersedes: null });
  }
}

function runAll(seed: string, faults: NetFaults, ops: readonly Op[]): { net: LinkNet; checker: Checker } {
  const checker = new Checker();
  const net = netCreate(seed, faults, config, checker.observe);
  const eaten = { adapter: 0, runtime: 0 };
  checker.incarnation = 0;
  apply(net, checker, { op: "reconnect" });
  for (const o of ops) {
    apply(net, checker, o);
    checkBounds(net);
    // A slow application, so that credit does run out.
    if (o.op === "run" && o.ms > 20) consumeAll(net, eaten);
  }
  for (let n = 0; n < 12; n++) {
    netRun(net, 200);
    consumeAll(net, eaten);
    checkBounds(net);
  }
  return { net, checker };
}

/** After a calm end every sequence a sender gave is accounted for at the receiver, and nothing waits. */
function checkSettled(net: LinkNet, lossless: boolean): void {
  const { adapter, runtime } = net.pair.ends;
  for (const [from, to] of [
    [adapter, runtime],
    [runtime, adapter],
  ] as const) {
    for (const s of Object.values(from.sessions)) {
      const peer = to.sessions[s.ref];
      if (peer === undefined) continue;
      expect(s.outTelemetry.queue).toEqual([]);
      // Credit for a lost tail comes back with the next event only; no living connection loses one.
      if (lossless) expect(s.outData.queue).toEqual([]);
      expect(peer.waiting).toEqual([]);
      expect(peer.inControl.next).toBe(s.controlSeq + 1);
    }
  }
}

const ops = fc.array(op, { minLength: 10, maxLength: 90 });
const seed = fc.string({ minLength: 4, maxLength: 4 });

test("delay, reordering across the two connections, duplicates, loss of the pair: order, fences, positions, credit, bounds", () => {
  fc.assert(
    fc.property(seed, ops, fc.integer({ min: 0, max: 70 }), (s, list, delayMsMax) => {
      const faults = { delayMsMax, duplicatePct: 10, mediaLossPct: 0, mediaReorderPct: 0 };
      const { net, checker } = runAll(s, faults, list);
      checkSettled(net, true);
      for (const seen of checker.seen.values()) expect(seen.gaps).toBe(0);
      const { adapter, runtime } = net.pair.ends;
      for (const from of Object.values(adapter.sessions)) {
        const peer = runtime.sessions[from.ref];
        if (peer !== undefined) expect(peer.inData.next).toBe(from.outData.lastSeq + 1);
      }
    }),
    { numRuns: 150 },
  );
});

test("a wild network that loses and reorders single media frames: the same, with declared gaps", () => {
  fc.assert(
    fc.property(seed, ops, (s, list) => {
      const faults = { delayMsMax: 50, duplicatePct: 20, mediaLossPct: 10, mediaReorderPct: 40 };
      checkSettled(runAll(s, faults, list).net, false);
    }),
    { numRuns: 150 },
  );
});
