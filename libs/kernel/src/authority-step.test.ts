import type { MonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { InputBody } from "./input.ts";
import { type KernelHarness, PCM } from "./testing/harness.ts";
import { asked, authority, committed, conversation, idle, records, sealed, speaking, told } from "./testing/scenes.ts";

const LEAVES = ["egress_media", "egress_text", "provider_open", "provider_push_audio", "provider_push_messages"];
const leaving = (effects: readonly Effect[]) => effects.filter((effect) => LEAVES.includes(effect.type));

/** One of each kind of input that carries an epoch. */
function withEpoch(h: KernelHarness, epoch: number): InputBody[] {
  return [
    { ...(h.frame() as Extract<InputBody, { type: "audio" }>), epoch, format: PCM },
    { ...(h.control("stop", { turn: 1 }) as Extract<InputBody, { type: "control" }>), epoch },
    { type: "delivery", epoch, turn: 1, generation: 1, state: "completed", playedUs: 1 },
    { type: "fence_ack", epoch, turn: 1, generation: 2, playedUs: 1, flushed: 0 },
  ];
}

describe("F-156 NF-027 epochs at kernel ingress", () => {
  for (const [name, off] of [
    ["stale", -1],
    ["unknown", 1],
  ] as const)
    test(`${name}: audio, control, delivery and fence_ack are refused, each with its marker, and change nothing`, () => {
      const h = speaking();
      const before = structuredClone({ ...h.state, counters: null, seq: 0, inputSeq: 0, batchIndex: 0 });
      const effects = h.feed(...withEpoch(h, 1 + off));
      expect(told(effects)).toEqual(
        ["audio", "stop", "delivery", "fence_ack"].map((what) => `stale_epoch_reject(${name}_epoch_${what})`),
      );
      expect({ ...structuredClone(h.state), counters: null, seq: 0, inputSeq: 0, batchIndex: 0 }).toEqual(before);
      expect(h.state.counters.staleRefused).toBe(4);
    });
});

describe("§7 rotation to the same holder", () => {
  test("the turn goes on; outputs and evidence carry the new epoch, the old one is refused from then on", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(authority(h, "rotated"));
    expect(h.signals("lease_rotated")).toEqual(["lease_rotated"]);
    expect(
      told(h.feed({ type: "delivery", epoch: 1, turn: 1, generation: 1, state: "accepted", playedUs: 0 })),
    ).toEqual(["stale_epoch_reject(stale_epoch_delivery)"]);
    h.feed(h.textChunk(llm, "Hello there. "), h.outcome(llm));
    const effects = h.speakPending();
    expect(effects.filter((effect) => effect.type === "egress_media").map((effect) => effect.epoch)).toContain(2);
    expect(h.log.some(({ effect }) => effect.type === "egress_media" && effect.epoch === 1)).toBe(false);
    expect(sealed(h, 1).manifest).toMatchObject({ epochAtOpen: 1, epochAtTerminal: 2 });
    expect(sealed(h, 1).missing).toEqual([]);
  });

  test("in one batch with frames of either epoch, whatever their order: the new one counts", () => {
    const h = idle();
    h.feed(...withEpoch(h, 2).slice(0, 1), authority(h, "rotated"));
    expect(h.state.counters.staleRefused).toBe(0);
    expect(h.state.lastAudioSequence).toBe(1);
  });
});

describe("§7 authority lost", () => {
  for (const kind of ["revoked", "granted_elsewhere"] as const)
    test(`${kind}: nothing leaves any more, nobody listens, nothing is stuck`, () => {
      const h = speaking({ bargeIn: false, holdOnCandidate: false });
      h.hear(true, 6);
      h.feed(h.textChunk(h.open("stt"), "and then ", { final: false }));
      const lost = h.feed(authority(h, kind));
      expect(lost.flatMap((effect) => (effect.type === "provider_cancel" ? [effect.reason] : []))).toEqual([
        "authority_loss",
        "authority_loss",
        "authority_loss",
      ]);
      expect(leaving(lost)).toEqual([]);
      const after = [...h.hear(true, 10), ...h.advance(10_000)];
      expect(leaving(after)).toEqual([]);
      expect([h.state.turns, h.state.invocations, h.state.prelude.closing]).toEqual([[], {}, []]);
      expect(h.state.prelude.utterance.phase).toBe("none");
      expect(records(h, "delivery_addendum")).toHaveLength(1);
    });

  test("it never comes back by a renewal, nor by an older epoch's word", () => {
    const h = idle();
    h.feed(authority(h, "revoked"));
    h.feed({ type: "authority", kind: "renewed", epoch: 1, deadlineNs: (9_000_000 * 1e6) as MonoNs });
    expect(h.state.authority.held).toBe("revoked");
    const g = idle();
    g.feed({ type: "authority", kind: "revoked", epoch: 0, deadlineNs: 0 as MonoNs });
    expect(g.state.authority.held).toBe("held");
  });

  test("a lease that runs out while the machine was suspended: looked at before any effect of that step", () => {
    const h = speaking();
    h.nowNs += 3_700_000_000_000;
    const effects = h.feed(h.textChunk(h.open("llm"), "and so on. "));
    expect(told(effects).slice(0, 3)).toEqual([
      "deauthorized_drain#1(lease_expired)",
      "abort#1(authority_loss)",
      "close#1",
    ]);
    expect(leaving(effects)).toEqual([]);
    expect(sealed(h, 1).missing).toEqual([]);
  });

  test("a late renewal brings an expired lease back: the session goes on", () => {
    const h = idle({}, { authority: { epoch: 1, incarnation: "store-1", deadlineNs: (100 * 1e6) as MonoNs } });
    h.advance(200);
    h.feed({ type: "authority", kind: "renewed", epoch: 1, deadlineNs: (9_000_000 * 1e6) as MonoNs });
    h.utter("hello");
    expect(conversation(h)).toEqual(["user: hello"]);
  });

  test("a committed turn that still plays is cut by nobody here, but nothing more of it leaves", () => {
    const h = committed();
    expect(leaving(h.feed(authority(h, "granted_elsewhere")))).toEqual([]);
    expect(leaving(h.advance(20_000))).toEqual([]);
    expect(h.state.turns).toEqual([]);
  });
});
