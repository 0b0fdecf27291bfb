import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { audio, fence, type Rig, rigUp, type Seen, signal, until } from "./link-rig.ts";

const sessions = ["s-0", "s-1", "s-2"];

type Action =
  | { kind: "audio"; session: number; count: number; urgent: boolean }
  | { kind: "positioned"; session: number }
  | { kind: "cancel"; session: number }
  | { kind: "stall"; line: "control" | "media"; stalled: boolean }
  /** A frame held up on the media line, and a signal behind it that waits its 40 ms. */
  | { kind: "late"; session: number }
  | { kind: "turn" };

const session = fc.nat({ max: sessions.length - 1 });
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("audio" as const),
      session,
      count: fc.integer({ min: 1, max: 60 }),
      urgent: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("positioned" as const), session }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("cancel" as const), session }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("stall" as const),
      line: fc.constantFrom("control" as const, "media" as const),
      stalled: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("turn" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("late" as const), session }) },
);

/** What the sender did in one session. */
class Sent {
  turn = 1;
  lastData = 0;
  readonly control: { kind: "overtaking" | "positioned"; seq: number; after: number; cutTurn: number }[] = [];
}

function value(result: { ok: true; value: number } | { ok: false; error: unknown }): number {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

function speak({ port }: Seen, log: Sent, count: number, urgent: boolean): void {
  for (let n = 0; n < count; n++) {
    const envelope = audio(port.constants.session, log.lastData + 1, { turn: log.turn, generation: 1 });
    log.lastData = value(port.sendMedia(envelope, urgent));
  }
}

function mark({ port }: Seen, log: Sent): number {
  const seq = value(port.sendControl(signal(port.constants.session, "silence"), { class: "positioned" }));
  log.control.push({ kind: "positioned", seq, after: log.lastData, cutTurn: 0 });
  return seq;
}

function cancel({ port }: Seen, log: Sent): void {
  const cutoff = { turn: log.turn, generation: 2, olderTurns: true };
  const seq = value(port.sendControl(fence(), { class: "overtaking", cutoff }));
  log.control.push({ kind: "overtaking", seq, after: log.lastData, cutTurn: log.turn });
  log.turn++;
}

const acted = (seen: Seen, seq: number): boolean => seen.events.some((e) => e.kind === "positioned" && e.seq === seq);

async function play(rig: Rig, senders: Seen[], there: Seen[], actions: readonly Action[]): Promise<Sent[]> {
  const sent = senders.map(() => new Sent());
  for (const act of actions) {
    if (act.kind === "turn") {
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    if (act.kind === "stall") {
      rig[act.line].stall(act.stalled);
      continue;
    }
    const sender = senders[act.session]!;
    const log = sent[act.session]!;
    if (act.kind === "audio") speak(sender, log, act.count, act.urgent);
    else if (act.kind === "positioned") mark(sender, log);
    else if (act.kind === "cancel") cancel(sender, log);
    else {
      rig.control.stall(false);
      rig.media.stall(true);
      speak(sender, log, 1, true);
      const seq = mark(sender, log);
      await until(() => acted(there[act.session]!, seq), "what waits for media acts without it");
    }
  }
  rig.control.stall(false);
  rig.media.stall(false);
  return sent;
}

/** Every sequence is told of once, in order; nothing cut acts after its cancel; nothing positioned acts too soon. */
function check(sent: Sent, seen: Seen, refused: ReadonlySet<number>): void {
  let passed = 0;
  let cutTurn = 0;
  let lastPositioned = 0;
  for (const event of seen.events) {
    if (event.kind === "event" || event.kind === "skipped") {
      const from = event.kind === "event" ? event.seq : event.fromSeq;
      // Between what was passed and what comes stands only what the receiver's own fence refused.
      for (let seq = passed + 1; seq < from; seq++) expect(refused.has(seq)).toBe(true);
      expect(from).toBeGreaterThan(passed);
      passed = event.kind === "event" ? event.seq : event.toSeq;
      if (event.kind === "event") expect(event.turn ?? 0).toBeGreaterThan(cutTurn);
    } else if (event.kind === "overtaking") cutTurn = Math.max(cutTurn, event.cutoff.turn);
    else if (event.kind === "positioned") {
      expect(event.seq).toBeGreaterThan(lastPositioned);
      lastPositioned = event.seq;
      const made = sent.control.find(({ seq }) => seq === event.seq);
      expect(made).toMatchObject({ kind: "positioned", after: event.lastMediaSeq });
      if (event.forced) continue;
      for (let seq = passed + 1; seq <= event.lastMediaSeq; seq++) expect(refused.has(seq)).toBe(true);
    } else throw new Error("a gap: a living pair loses nothing");
  }
  for (let seq = passed + 1; seq <= sent.lastData; seq++) expect(refused.has(seq)).toBe(true);
}

describe("fuzzed interleavings over real sockets", () => {
  test("order, cancels and positions hold whatever stalls, and nothing is lost undeclared", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 20, maxLength: 120 }), async (actions) => {
        const rig = await rigUp();
        try {
          const there = sessions.map((name) => rig.adapter.bind(rig.client.end, name));
          await until(() => rig.runtime.sessions.size === sessions.length, "the sessions");
          const senders = sessions.map((name) => rig.runtime.seen(name));
          const sent = await play(rig, senders, there, actions);
          const ends = senders.map((sender, i) => mark(sender, sent[i]!));
          const passed = (i: number): boolean =>
            acted(there[i]!, ends[i]!) && reached(there[i]!, refusedOf(rig, there[i]!)) >= sent[i]!.lastData;
          await until(() => there.every((_, i) => passed(i)), "all control and all media, or word of it");
          there.forEach((seen, i) => {
            check(sent[i]!, seen, refusedOf(rig, seen));
            const controls = seen.events.filter((e) => e.kind === "overtaking" || e.kind === "positioned");
            expect(controls.length).toBe(sent[i]!.control.length);
          });
          expect(rig.adapter.downs).toEqual([]);
        } finally {
          await rig.stop();
        }
      }),
      { numRuns: 12 },
    );
  });
});

/** Sequences that the receiver's own fence refused. */
function refusedOf(rig: Rig, seen: Seen): ReadonlySet<number> {
  const { ref } = seen.port;
  const fenced = rig.adapter.notices.flatMap((n) =>
    n.kind === "frame_refused" && n.ref === ref && n.reason === "fenced" ? [n.seq] : [],
  );
  return new Set(fenced);
}

/** The highest data sequence of which the receiver knows what became of it. */
function reached(seen: Seen, refused: ReadonlySet<number>): number {
  const told = seen.events.map((e) => (e.kind === "event" ? e.seq : e.kind === "skipped" ? e.toSeq : 0));
  return Math.max(0, ...told, ...refused);
}
