import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import type { CompiledPipeline } from "./compiled.ts";
import { applyLayers } from "./layers.ts";
import { type Overrides, parseOverrides } from "./overrides.ts";
import { formatProblems, type SpecProblem } from "./problem.ts";
import { SESSION_SETTINGS, sessionOverrides } from "./session-overrides.ts";
import { edited, parsed, small } from "./testing.ts";

const spec = `${edited(small, "nodes:", "variables:\n  company: {type: string, required: true, sensitivity: public}\nnodes:")}policy: {barge_in: false}
recording: {level: L1}
`;

function layer(kind: string, body: string, name = "acme"): Overrides {
  const text = `schema: rspp/overrides/v1\nlayer: ${kind}\nname: ${name}\nversion: 3\n${body}`;
  const read = parseOverrides(text, `${kind}.yaml`);
  if (!read.ok) throw new Error(formatProblems(read.error, text));
  return read.value;
}

function resolved(...layers: Overrides[]): CompiledPipeline {
  const layered = applyLayers(parsed(spec), layers);
  if (!layered.ok) throw new Error(formatProblems(layered.error, ""));
  const compiled = compileSpec(layered.value);
  if (!compiled.ok) throw new Error(formatProblems(compiled.error, ""));
  return compiled.value;
}

function refusals(...layers: Overrides[]): string[] {
  const line = ({ file, line: at, column, path, code }: SpecProblem) => `${file}:${at}:${column} ${path} ${code}`;
  const layered = applyLayers(parsed(spec), layers);
  if (!layered.ok) return layered.error.map(line);
  const compiled = compileSpec(layered.value);
  return compiled.ok ? [] : compiled.error.map(line);
}

const only = "applies_to: [small]\n";

describe("layers", () => {
  test("F-080 defaults, pipeline, environment, tenant, session: the last one wins and each value says whose it is", () => {
    const environment = layer(
      "environment",
      "budgets: {node_soft_ms: 700, cancel_grace_ms: 40}\npolicy: {reconnect_ms: 5000}\n",
      "production",
    );
    const tenant = layer("tenant", "budgets: {node_soft_ms: 600}\nvariables: {company: Acme}\n");
    const session = sessionOverrides({ "policy.barge_in": true });
    if (!session.ok || session.value === null) throw new Error("no session layer");
    const { policy, budgets, provenance, variables } = resolved(session.value, tenant, environment);
    expect(policy).toMatchObject({ bargeIn: true, reconnectMs: 5000 });
    expect(budgets).toMatchObject({ nodeSoftMs: 600, cancelGraceMs: 40 });
    expect(provenance).toMatchObject({
      "policy.bargeIn": "session",
      "policy.reconnectMs": "environment/production@3",
      "policy.lateEvents": "defaulting_source=execution_profile/simple/v1",
      "budgets.nodeSoftMs": "tenant/acme@3",
      "budgets.cancelGraceMs": "environment/production@3",
      "recording.ceiling": "spec",
      "variables.company.default": "tenant/acme@3",
    });
    expect(variables?.company).toEqual({ type: "string", sensitivity: "public", default: "Acme" });
  });

  test("F-080 settings of a node are merged, candidates are replaced whole", () => {
    const tenant = layer(
      "tenant",
      `${only}nodes:
  ep: {settings: {endpoint_silence_ms: 900}}
  tts: {provider: {candidates: [sim/tts, local/flite], settings: {voice: slt}}}
`,
    );
    const { graph, provenance } = resolved(tenant);
    const node = (id: string) => graph.nodes.find((one) => one.id === id);
    expect(node("ep")?.settings).toMatchObject({ endpoint_silence_ms: 900, onset_frames: 2 });
    expect(node("tts")?.candidates).toEqual([
      { provider: "sim/tts", settings: { voice: "slt" } },
      { provider: "local/flite", settings: { voice: "slt" } },
    ]);
    expect(provenance["nodes.tts.candidates[1].provider"]).toBe("tenant/acme@3");
    expect(provenance["nodes.tts.candidates[1].settings.voice"]).toBe("tenant/acme@3");
    expect(provenance["nodes.ep.settings.onset_frames"]).toMatch(/^defaulting_source/);
    expect(provenance["nodes.tts.kind"]).toBe("spec");
  });

  test("F-080 a layer for other pipelines changes nothing", () => {
    const plain = resolved();
    const other = layer(
      "tenant",
      "applies_to: [other]\npolicy: {barge_in: true}\nnodes: {nobody: {settings: {a: 1}}}\n",
    );
    expect(resolved(other)).toEqual(plain);
  });

  test("F-080 F-153 a layer may lower the recording level and never raise it, also above a layer below it", () => {
    expect(resolved(layer("environment", "recording: {level: L0}\n")).recording.ceiling).toBe("L0");
    expect(refusals(layer("tenant", "recording: {level: L2}\n"))).toEqual([
      "tenant.yaml:5:20 recording.level layer_refused",
    ]);
    const lowered = layer("environment", "recording: {level: L0}\n");
    expect(refusals(lowered, layer("tenant", "recording: {level: L1}\n"))).toEqual([
      "tenant.yaml:5:20 recording.level layer_refused",
    ]);
  });

  test("F-071 F-080 a tenant's layer samples its recordings, less than the layers below it and never more", () => {
    const below = layer("environment", "recording: {sample_percent: 20}\n");
    const own = (percent: number) => layer("tenant", `recording: {sample_percent: ${percent}}\n`);
    expect(resolved(below, own(5)).recording.samplePercent).toBe(5);
    expect(resolved(below, own(5)).provenance["recording.samplePercent"]).toBe("tenant/acme@3");
    expect(refusals(below, own(21))).toEqual(["tenant.yaml:5:29 recording.sample_percent layer_refused"]);
    expect(() => own(101)).toThrow("recording.sample_percent: 101 is out of range");
    expect(resolved().recording.samplePercent).toBeUndefined();
  });

  test.each([
    [`${only}nodes: {tss: {settings: {a: 1}}}\n`, "tenant.yaml:6:14 nodes.tss unknown_node"],
    [
      `${only}nodes: {ep: {settings: {endpoint_silence: 1}}}\n`,
      "tenant.yaml:6:25 nodes.ep.settings.endpoint_silence unknown_field",
    ],
    [
      `${only}nodes: {ep: {settings: {endpoint_silence_ms: 1}}}\n`,
      "tenant.yaml:6:46 nodes.ep.settings.endpoint_silence_ms out_of_range",
    ],
    [
      `${only}nodes: {ep: {settings: {candidate_silence_ms: 4000}}}\n`,
      "tenant.yaml:6:47 nodes.ep.settings.candidate_silence_ms out_of_range",
    ],
    [`${only}nodes: {ep: {provider: {candidates: [a/b]}}}\n`, "tenant.yaml:6:24 nodes.ep.provider not_allowed"],
    [`${only}nodes: {caller: {settings: {a: 1}}}\n`, "tenant.yaml:6:28 nodes.caller.settings not_allowed"],
    [`${only}variables: {town: Bern}\n`, "tenant.yaml:6:19 variables.town unknown_variable"],
    ["variables: {company: 7}\n", "tenant.yaml:5:22 variables.company not_allowed"],
    ["budgets: {provider_attempt_ms: 60000}\n", "tenant.yaml:5:32 budgets.provider_attempt_ms out_of_range"],
  ])("F-080 F-001 what a layer may not do is told in the layer's file: %s", (body, expected) => {
    expect(refusals(layer("tenant", body))).toEqual([expected]);
  });

  test.each([
    ["nodes: {ep: {settings: {onset_frames: 3}}}\n", "nodes", "missing_field"],
    ["edges: []\n", "edges", "unknown_field"],
    ["policy: {barge: true}\n", "policy.barge", "unknown_field"],
    ["policy: {barge_in: maybe}\n", "policy.barge_in", "wrong_type"],
    [`${only}nodes: {tts: {kind: stt}}\n`, "nodes.tts.kind", "unknown_field"],
    [
      `${only}nodes: {llm: {provider: {settings: {api_key: abc}}}}\n`,
      "nodes.llm.provider.settings.api_key",
      "secret_literal",
    ],
  ])("F-080 F-001 a layer that is no layer is refused: %s", (body, path, code) => {
    const read = parseOverrides(`schema: rspp/overrides/v1\nlayer: tenant\nname: acme\nversion: 1\n${body}`, "t.yaml");
    expect(read.ok ? [] : read.error.map((problem) => [problem.path, problem.code])).toEqual([[path, code]]);
  });
});

describe("what a session may set", () => {
  test("F-080 a few settings, lower recording and nothing else", () => {
    const made = sessionOverrides({ "recording.level": "L0", "nodes.ep.settings.endpoint_silence_ms": 700 });
    if (!made.ok || made.value === null) throw new Error("refused");
    const { graph, recording } = resolved(made.value);
    expect(recording.ceiling).toBe("L0");
    expect(graph.nodes.find(({ id }) => id === "ep")?.settings.endpoint_silence_ms).toBe(700);
  });

  test.each([
    "policy.id",
    "budgets.node_soft_ms",
    "nodes.llm.provider.settings.model",
    "nodes.llm.provider.candidates",
    "__proto__.x",
  ])("F-080 %s is no setting of a session", (path) => {
    const made = sessionOverrides({ [path]: "x" });
    expect(made.ok ? "" : made.error).toBe(
      `set.${path} is no setting of a session: a session may set ${SESSION_SETTINGS}`,
    );
  });

  test("F-080 a wrong value is refused by its path, and is not repeated", () => {
    const made = sessionOverrides({ "policy.barge_in": 12345 });
    expect(made.ok ? "" : made.error).toMatch(/^set\.policy\.barge_in: expected true or false/);
  });
});

const numbers = { node_soft_ms: [10, 60_000], cancel_grace_ms: [5, 5_000] } as const;
const flags = ["barge_in", "hold_on_candidate", "speculation"] as const;
const layerBody = fc.record(
  {
    node_soft_ms: fc.integer({ min: 10, max: 60_000 }),
    cancel_grace_ms: fc.integer({ min: 5, max: 5_000 }),
    barge_in: fc.boolean(),
    hold_on_candidate: fc.boolean(),
    speculation: fc.boolean(),
  },
  { requiredKeys: [] },
);

test("F-080 against a naive model: the last layer that gives a value wins, with its provenance, in any grouping", () => {
  fc.assert(
    fc.property(fc.array(layerBody, { maxLength: 4 }), fc.nat({ max: 4 }), (bodies, split) => {
      const layers = bodies.map((body, i) => {
        const part = (keys: readonly string[]) =>
          Object.fromEntries(Object.entries(body).filter(([key]) => keys.includes(key)));
        const lines = [
          `budgets: ${JSON.stringify(part(Object.keys(numbers)))}`,
          `policy: ${JSON.stringify(part(flags))}`,
        ];
        return layer("tenant", `${lines.join("\n")}\n`, `t${i}`);
      });
      const whole = resolved(...layers);
      const snake = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      for (const [section, values] of Object.entries({ policy: whole.policy, budgets: whole.budgets })) {
        for (const [key, value] of Object.entries(values)) {
          const name = snake(key) as keyof (typeof bodies)[number];
          const winner = bodies.findLastIndex((body) => body[name] !== undefined);
          if (winner < 0) continue;
          expect(value).toBe(bodies[winner]?.[name]);
          expect(whole.provenance[`${section}.${key}`]).toBe(`tenant/t${winner}@3`);
        }
      }
      const first = applyLayers(parsed(spec), layers.slice(0, split));
      const grouped = first.ok ? applyLayers(first.value, layers.slice(split)) : first;
      const compiled = grouped.ok ? compileSpec(grouped.value) : grouped;
      expect(compiled.ok && compiled.value).toEqual(whole);
    }),
    { numRuns: 40 },
  );
});
