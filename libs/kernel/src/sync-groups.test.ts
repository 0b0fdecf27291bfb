/** Streams that belong together (F-146; `kernel.md` §5, §14 F5). */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BufferSpec, GraphDefinition, SyncSpec } from "./graph.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { toldOf } from "./testing/edges.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";

const buffer = (maxItems: number, sync?: SyncSpec): BufferSpec => ({
  maxItems,
  maxBytes: 1 << 20,
  maxQueueMs: 60_000,
  strategy: "drop_oldest",
  maxBlockMs: 0,
  source: "test",
  ...(sync === undefined ? {} : { sync }),
});

/** One microphone, two host nodes that answer when they are told to: `narrow` has few places, `wide` many. */
function microphone(sync?: SyncSpec, narrow = 3, strategy: BufferSpec["strategy"] = "drop_oldest"): KernelHarness {
  const edge = (id: string, to: string, maxItems: number): GraphDefinition["edges"][number] => ({
    id,
    from: { node: "caller", port: "audio" },
    to: { node: to, port: "audio" },
    type: "audio",
    buffer: { ...buffer(maxItems, sync), strategy },
  });
  const h = new KernelHarness(
    testConfig({
      pipelineVersion: "mic@1",
      nodes: [node("caller", "ingress", "session"), node("a", "vad", "session"), node("b", "vad", "session")],
      edges: [edge("narrow", "a", narrow), edge("wide", "b", 100)],
    }),
  );
  h.connect();
  return h;
}

/** What each node was asked about, by media time in frames; resets as `r`. Everything is answered. */
function served(h: KernelHarness, which: "a" | "b"): (number | "r")[] {
  for (
    let command = Object.keys(h.state.commands)[0];
    command !== undefined;
    command = Object.keys(h.state.commands)[0]
  )
    h.feed({ type: "node_done", command: Number(command) });
  return h.log.flatMap(({ effect }): (number | "r")[] => {
    if (effect.type === "node_event" && effect.node === which) return [effect.mediaUs / 20_000];
    return effect.type === "node_reset" && effect.node === which ? ["r"] : [];
  });
}

const mic = (policy: SyncSpec["policy"], scope: SyncSpec["scope"]): SyncSpec => ({ group: "mic", policy, scope });
const burst = (h: KernelHarness, count: number) => h.feed(...Array.from({ length: count }, () => h.frame()));

describe("F-146 a loss in a sync domain", () => {
  test("F-146 atomic_drop plan_wide: whole groups drop on every edge; marked once a gap; consumers start anew", () => {
    const h = microphone(mic("atomic_drop", "plan_wide"));
    burst(h, 10);
    const [a, b] = [served(h, "a"), served(h, "b")];
    expect(a).toEqual(["r", 7, 8, 9]);
    expect(b).toEqual(a);
    const marks = toldOf(h, "discontinuity");
    expect(marks.map(({ reason, fields }) => [reason, fields.syncDomain, fields.edge])).toEqual([
      ["atomic_drop", "mic", "narrow"],
    ]);
    expect(Number(marks[0]?.fields.discontinuityId)).toBeGreaterThan(0);
    // Each drop is declared on the edge where it happened.
    const reasons = toldOf(h, "drop_notice").map(({ reason, fields }) => `${fields.edge} ${reason}`);
    expect(new Set(reasons)).toEqual(new Set(["narrow max_items", "wide sync_group"]));
    checkReplay(h);
  });

  test("F-146 a member that comes after its group was dropped is dropped as well", () => {
    // The narrow edge refuses the newest before the wide one is offered it.
    const h = microphone(mic("atomic_drop", "plan_wide"), 3, "drop_newest");
    burst(h, 10);
    expect(served(h, "a")).toEqual([0, 1, 2]);
    expect(served(h, "b")).toEqual([0, 1, 2]);
    burst(h, 1);
    // Borne by the first behind the gap, not by what was queued before it.
    expect(served(h, "a").slice(3)).toEqual(["r", 10]);
    expect(served(h, "b").slice(3)).toEqual(["r", 10]);
    checkReplay(h);
  });

  test("F-146 drop_with_discontinuity: the other stream goes on whole, both consumers are told", () => {
    const h = microphone(mic("drop_with_discontinuity", "plan_wide"));
    burst(h, 10);
    expect(served(h, "a")).toEqual(["r", 7, 8, 9]);
    expect(served(h, "b")).toEqual(["r", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(toldOf(h, "discontinuity").map(({ reason }) => reason)).toEqual(["drop_with_discontinuity"]);
    expect(toldOf(h, "drop_notice").every(({ fields }) => fields.edge === "narrow")).toBe(true);
    checkReplay(h);
  });

  test("F-146 edge_local: only the edge that lost is concerned", () => {
    for (const policy of ["atomic_drop", "drop_with_discontinuity"] as const) {
      const h = microphone(mic(policy, "edge_local"));
      burst(h, 10);
      expect(served(h, "a")).toEqual(["r", 7, 8, 9]);
      expect(served(h, "b")).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      checkReplay(h);
    }
  });

  test("F-146 no_sync, and no domain at all: streams lose what they lose, nobody is told of the other", () => {
    for (const sync of [mic("no_sync", "plan_wide"), undefined]) {
      const h = microphone(sync);
      burst(h, 10);
      expect(served(h, "a")).toEqual([7, 8, 9]);
      expect(served(h, "b")).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(toldOf(h, "discontinuity")).toEqual([]);
    }
  });

  test("F-146 each gap has its own discontinuity: one that was delivered is over", () => {
    const h = microphone(mic("atomic_drop", "plan_wide"));
    burst(h, 10);
    served(h, "a");
    burst(h, 10);
    served(h, "a");
    const ids = toldOf(h, "discontinuity").map(({ fields }) => fields.discontinuityId);
    expect(ids).toHaveLength(2);
    expect(ids[1]).not.toBe(ids[0]);
  });

  test("F-146 a second gap behind what is still queued is told, and borne, by itself", () => {
    const h = microphone(mic("drop_with_discontinuity", "edge_local"), 2, "drop_newest");
    burst(h, 1);
    // 0 is in the node's hands; 1 and 2 wait, 3 is lost.
    burst(h, 3);
    const done = (): void => {
      const [command] = Object.entries(h.state.commands).find(([, { node }]) => node === 1) ?? [];
      h.feed({ type: "node_done", command: Number(command) });
    };
    done();
    // Room for 4; 5 is lost.
    burst(h, 2);
    done();
    burst(h, 1);
    expect(toldOf(h, "discontinuity")).toHaveLength(2);
    expect(served(h, "a")).toEqual([0, 1, 2, "r", 4, "r", 6]);
    checkReplay(h);
  });

  test("F-146 clauses of a turn: an edge of text drops all of a clause, and the segmenter does not join across the gap", () => {
    const graph = graphOf(
      [...EAR_NODES, ...MODEL_NODES, ...VOICE_NODES],
      [
        ...EAR_EDGES,
        "stt.text -> endpointing.text",
        "endpointing.utterance -> context.utterance",
        "context.messages -> llm.messages",
        "llm.text -> segmenter.text",
        ...VOICE_EDGES,
      ],
    );
    const sync: SyncSpec = { group: "reply", policy: "atomic_drop", scope: "edge_local" };
    const edges = graph.edges.map((edge) =>
      edge.to.node === "segmenter"
        ? { ...edge, buffer: { ...buffer(3, sync), strategy: "drop_newest" as const } }
        : edge,
    );
    const h = new KernelHarness(testConfig({ ...graph, edges }));
    h.connect();
    h.utter("hello");
    const llm = h.open("llm");
    const chunk = (text: string, segment: number) => h.textChunk(llm, text, { segment, final: false });
    h.feed(chunk("It costs ", 0), chunk("five", 0));
    // Two pieces of clause 1 and one of clause 2 fit; the third of clause 1 does not, and takes its own with it.
    h.feed(chunk(" and not", 1), chunk(" euros. ", 2), chunk("", 2), chunk(" ten", 1), chunk("Good bye. ", 2));
    h.feed(h.outcome(llm));
    const spoken = h.log.flatMap(({ effect }) => (effect.type === "provider_push_text" ? [h.text(effect.spans)] : []));
    expect(spoken[0]).toBe("It costs five");
    expect(spoken.join("|")).not.toContain("not");
    expect(spoken.join("|")).not.toContain("ten");
    checkReplay(h);
  });
});

/** The rule as arrays and nothing clever: what each edge delivers when all that was offered is taken at the end. */
function naive(bursts: readonly number[], narrow: number, policy: SyncSpec["policy"]) {
  const gone = new Set<number>();
  let a: number[] = [];
  let b: number[] = [];
  const out: { a: number[]; b: number[] } = { a: [], b: [] };
  let frame = 0;
  for (const count of bursts) {
    for (let i = 0; i < count; i++, frame++) {
      if (policy === "atomic_drop" && gone.has(frame)) continue;
      if (a.length >= narrow) {
        const lost = a.shift() as number;
        gone.add(lost);
        if (policy === "atomic_drop") b = b.filter((f) => f !== lost);
      }
      a.push(frame);
      b.push(frame);
    }
    out.a.push(...a);
    out.b.push(...b);
    a = [];
    b = [];
  }
  return out;
}

test("F-146 against a naive model, whatever the bursts: the streams of an atomic domain stay together", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom("atomic_drop" as const, "drop_with_discontinuity" as const, "no_sync" as const),
      (bursts, narrow, policy) => {
        const h = microphone(mic(policy, "plan_wide"), narrow);
        for (const count of bursts) {
          burst(h, count);
          served(h, "a");
        }
        const frames = (which: "a" | "b") => served(h, which).filter((one) => one !== "r");
        expect({ a: frames("a"), b: frames("b") }).toEqual(naive(bursts, narrow, policy));
        if (policy === "atomic_drop") expect(frames("b")).toEqual(frames("a"));
        checkReplay(h);
      },
    ),
    { numRuns: 60 },
  );
});
