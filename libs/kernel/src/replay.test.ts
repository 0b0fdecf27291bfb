import { describe, expect, test } from "vitest";
import { type JournalEntry, replayJournal } from "./replay.ts";
import { committed } from "./testing/scenes.ts";

function recorded(): { h: ReturnType<typeof committed>; journal: JournalEntry[] } {
  const h = committed();
  return { h, journal: JSON.parse(JSON.stringify(h.journal)) as JournalEntry[] };
}

describe("§12 NF-009 replay", () => {
  test("L1: recorded facts are served, effects are identical; L2: recomputed facts, too", () => {
    const { h, journal } = recorded();
    expect(replayJournal(h.config, journal)).toMatchObject({ identical: true, steps: journal.length, divergences: [] });
    expect(replayJournal(h.config, journal, { fns: h.fns }).divergences).toEqual([]);
  });

  test("an altered input is found at its batch", () => {
    const { h, journal } = recorded();
    const at = journal.findIndex((entry) => entry.batch.inputs.some((input) => input.body.type === "provider_outcome"));
    const input = journal[at]?.batch.inputs.find((i) => i.body.type === "provider_outcome");
    if (input?.body.type === "provider_outcome") input.body.outcome = "error";
    const result = replayJournal(h.config, journal);
    expect(result.identical).toBe(false);
    expect(result.divergences.map((d) => `${d.class} ${d.batch}`)).toContain(`ORDERING ${journal[at]?.batch.index}`);
  });

  test("a fact that was not recorded is an OUTCOME, one that comes out otherwise a PAYLOAD divergence", () => {
    const missing = recorded();
    const at = missing.journal.findIndex((entry) => entry.facts.length > 0);
    (missing.journal[at] as { facts: unknown }).facts = [];
    expect(replayJournal(missing.h.config, missing.journal).divergences[0]).toMatchObject({ class: "OUTCOME" });
    const other = recorded();
    const fns = {
      answer: (question: Parameters<typeof other.h.fns.answer>[0]) => {
        const answer = other.h.fns.answer(question);
        return question.fn === "cut" ? { chars: 1, bytes: 1, hash: "" } : answer;
      },
    };
    expect(replayJournal(other.h.config, other.journal, { fns }).divergences[0]).toMatchObject({ class: "PAYLOAD" });
  });

  test("a batch that broke the kernel is the last entry: reported, and broken again in the same place", () => {
    const { h, journal } = recorded();
    const last = journal.at(-1) as JournalEntry;
    const batch = { ...last.batch, index: last.batch.index + 1 };
    const stranger = { seq: 9_999_999, monoNs: batch.monoNs, wallMs: batch.wallMs, body: { type: "timer", id: "x" } };
    const broken = { ...batch, inputs: [stranger] } as JournalEntry["batch"];
    const honest = replayJournal(h.config, [...journal, { batch: broken, facts: [], digest: "", fault: "x" }]);
    expect(honest).toMatchObject({ identical: false, steps: journal.length, fault: { recorded: "x" } });
    const found = honest.fault?.found ?? "";
    expect(found).toContain("inputs rise by one");
    const same = replayJournal(h.config, [...journal, { batch: broken, facts: [], digest: "", fault: found }]);
    expect(same).toMatchObject({ identical: true, fault: { batch: broken.index, recorded: found, found } });
    const sane = { ...broken, inputs: [] };
    const healed = replayJournal(h.config, [...journal, { batch: sane, facts: [], digest: "", fault: "x" }]);
    expect(healed).toMatchObject({ identical: false, fault: { found: "" } });
  });

  test("a journal that needs an unknown behaviour is not replayed wrongly but refused", () => {
    const { h, journal } = recorded();
    expect(() => replayJournal({ ...h.config, behaviours: [1, 999_999] }, journal)).toThrow(RangeError);
  });
});
