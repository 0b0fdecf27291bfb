import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { InputBody } from "@rspp/kernel/input";
import { type JournalEntry, replayJournal } from "@rspp/kernel/replay";
import type { DivergenceClass } from "@rspp/kernel/replay-classes";
import { describe, expect, test } from "vitest";
import { type Golden, SCENARIOS } from "./scenarios.ts";

const dir = fileURLToPath(new URL("golden", import.meta.url));
const files = readdirSync(dir).filter((name) => name.endsWith(".json"));

function read(name: string): Golden {
  return JSON.parse(readFileSync(join(dir, name), "utf8")) as Golden;
}

/** The signals of a replay, as the recording names them. */
function replayed(golden: Golden): { told: string[]; result: ReturnType<typeof replayJournal> } {
  const told: string[] = [];
  const result = replayJournal(golden.config, golden.entries, {
    onStep: (_batch, effects) => {
      for (const effect of effects) {
        if (effect.type !== "signal") continue;
        const { signal, turn, reason } = effect.event;
        told.push(`${signal}${turn === 0 ? "" : `#${turn}`}${reason === "" ? "" : `(${reason})`}`);
      }
    },
  });
  return { told, result };
}

describe("NF-009 golden recordings", () => {
  test.each(["b1", "b1-2", "b1-2-3", "b1-2-3-4"])("there is one of each scenario for behaviours %s", (behaviours) => {
    expect(files).toEqual(expect.arrayContaining(Object.keys(SCENARIOS).map((name) => `${name}.${behaviours}.json`)));
  });

  test("F-010 there is one with every kind of text node", () => {
    const golden = read("text-nodes.b1-2.json");
    const kinds = new Set(golden.config.graph.nodes.map(({ kind }) => kind));
    expect([...kinds]).toEqual(
      expect.arrayContaining(["translator", "merge", "select", "compliance", "filter", "dtmf"]),
    );
    expect(golden.told.join(" ")).toMatch(/route_decision#1\(condition\).*\(policy\).*commit#1.*barge_in#1.*commit#2/);
  });

  for (const name of files)
    test(`${name} replays as it was recorded`, () => {
      const golden = read(name);
      expect(name).toContain(`.b${golden.config.behaviours.join("-")}.`);
      const { told, result } = replayed(golden);
      expect(result.divergences).toEqual([]);
      expect(result.steps).toBe(golden.entries.length);
      expect(told).toEqual(golden.told);
    });
});

type Corruption = readonly [string, string, DivergenceClass, (golden: Golden) => void];

/** The first input of a kind, and the entry it came in. */
function find<T extends InputBody["type"]>(
  golden: Golden,
  type: T,
): { body: Extract<InputBody, { type: T }>; at: number } {
  for (const [at, { batch }] of golden.entries.entries())
    for (const input of batch.inputs)
      if (input.body.type === type) return { body: input.body as Extract<InputBody, { type: T }>, at };
  throw new Error(`no ${type} in ${golden.scenario}`);
}

/** Behind this step nothing of a corrupted recording is looked at. */
const CORRUPTIONS: readonly Corruption[] = [
  [
    "a policy snapshot of another version",
    "question",
    "PLAN",
    (g) => {
      (g.config.snapshots as { policy: string }).policy = "policy@2";
    },
  ],
  [
    "another variable",
    "greeting",
    "PLAN",
    (g) => {
      (g.config as { variables: object }).variables = { name: "Ada" };
    },
  ],
  [
    "a report under another epoch",
    "question",
    "AUTHORITY",
    (g) => {
      find(g, "delivery").body.epoch = 0;
    },
  ],
  [
    "a lease that was revoked while the turn was open",
    "barge-in",
    "AUTHORITY",
    (g) => {
      const answers = g.entries.flatMap(({ batch }) => batch.inputs);
      const [, llm] = answers.filter(({ body }) => body.type === "provider_outcome");
      Object.assign(llm ?? {}, { body: { type: "authority", kind: "revoked", epoch: 1, deadlineNs: 0 } });
    },
  ],
  [
    "a provider that failed where it succeeded",
    "question",
    "OUTCOME",
    (g) => {
      const last = g.entries
        .flatMap(({ batch }) => batch.inputs)
        .findLast(({ body }) => body.type === "provider_outcome");
      if (last?.body.type === "provider_outcome") last.body.outcome = "error";
    },
  ],
  [
    "a provider that succeeded where it failed",
    "provider-switch",
    "OUTCOME",
    (g) => {
      const failed = g.entries
        .flatMap(({ batch }) => batch.inputs)
        .find(({ body }) => body.type === "provider_outcome" && body.outcome === "error");
      if (failed?.body.type === "provider_outcome") failed.body.outcome = "overload";
    },
  ],
  [
    "a cancel that was none",
    "abort",
    "OUTCOME",
    (g) => {
      const stop = g.entries
        .flatMap(({ batch }) => batch.inputs)
        .find(({ body }) => body.type === "control" && body.signal === "stop");
      if (stop?.body.type === "control") stop.body.signal = "silence";
    },
  ],
  [
    "other audio of the caller",
    "question",
    "PAYLOAD",
    (g) => {
      find(g, "audio").body.payload.bytes = 641;
    },
  ],
  [
    "a frame taken out",
    "question",
    "ORDERING",
    (g) => {
      const { at } = find(g, "audio");
      const entry = g.entries[at] as JournalEntry;
      (entry.batch as { inputs: unknown }).inputs = entry.batch.inputs.map((input) => ({
        ...input,
        body: { type: "timer", id: "none" },
      }));
    },
  ],
];

describe("§12 recordings corrupted on purpose", () => {
  for (const [what, scenario, expected, corrupt] of CORRUPTIONS)
    test(`${scenario}: ${what} is found as ${expected}`, () => {
      const golden = read(`${scenario}.b1.json`);
      corrupt(golden);
      const { result } = replayed(golden);
      expect(result).toMatchObject({ identical: false, classifiedBy: "summary" });
      expect(result.divergences[0]?.class).toBe(expected);
    });

  test("without summaries the digest alone tells no class, and says so", () => {
    const golden = read("question.b1.json");
    (golden.config.snapshots as { policy: string }).policy = "policy@2";
    const entries = golden.entries.map(({ summary: _, ...entry }) => entry);
    const result = replayJournal(golden.config, entries);
    expect(result).toMatchObject({ identical: false, classifiedBy: "digest", divergences: [{ class: "ORDERING" }] });
  });

  test("with plans, evidence and signals of the recording at hand the class is told from those", () => {
    const plans: Record<number, string> = {};
    const evidence: Record<number, string> = {};
    const signals: { signal: string; cause: number }[] = [];
    const whole = read("question.b1.json");
    replayJournal(whole.config, whole.entries, {
      onStep: (_batch, effects) => {
        for (const effect of effects) {
          if (effect.type === "signal") signals.push(effect.event);
          if (effect.type !== "record") continue;
          const { record } = effect;
          if (record.kind === "plan") plans[record.turn] = record.hash;
          if (record.kind === "evidence") evidence[record.turn] = record.hash;
        }
      },
    });
    const classOf = (corrupt: (golden: Golden) => void): string | undefined => {
      const golden = read("question.b1.json");
      corrupt(golden);
      const entries = golden.entries.map(({ summary: _, ...entry }) => entry);
      const result = replayJournal(golden.config, entries, { proof: { plans, evidence, signals } });
      expect(result.classifiedBy).toBe("proof");
      return result.divergences[0]?.class;
    };
    expect(classOf((g) => void Object.assign(g.config, { variables: { name: "Ada" } }))).toBe("PLAN");
    expect(classOf((g) => void Object.assign(find(g, "delivery").body, { epoch: 0 }))).toBe("AUTHORITY");
    expect(classOf((g) => void Object.assign(g.config, { seed: "another", tenantId: "tenant-b" }))).toBe("ORDERING");
  });
});
