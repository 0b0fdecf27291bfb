/** Which gates each level runs. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { gateFacts } from "@rspp/replay/gates/facts";
import { safetyGates } from "@rspp/replay/gates/safety";
import type { SafetyGateName } from "@rspp/replay/gates/types";
import type { GateOutcome, Level } from "./artefact.ts";
import { check, checkoutInput, type Gate, type GateContext, judged, notRun } from "./context.ts";
import { fixedDecisions } from "./decisions.ts";
import { featureMap } from "./feature-map.ts";
import { goldenReplay } from "./golden.ts";
import { latencyRegression, recordingsReplayed } from "./replays.ts";
import { byTests, lockfilePinned, secretsSearched } from "./security.ts";
import { hasTool, runTool } from "./tools.ts";

const safety: readonly (readonly [SafetyGateName, string, string])[] = [
  ["turn_open", "NF-024", "proposal read to turn_open handed out"],
  ["first_output", "NF-025", "turn_open to the first output handed out"],
  ["cancel_fence", "NF-026", "cancel read to its fence acknowledged"],
  ["stale_epoch", "NF-027", "no output accepted under an epoch no longer in force"],
  ["complete_evidence", "NF-028", "every accepted turn has complete evidence"],
  ["one_terminal", "NF-029", "every turn has exactly one terminal, then close"],
  ["end_to_end", "NF-038", "last voiced frame to playback at the adapter"],
];

function safetyGate(name: SafetyGateName, { sessions, recordings }: GateContext): GateOutcome {
  const found = safetyGates(gateFacts(sessions)).find(({ gate }) => gate === name);
  if (found === undefined) throw new Error(`no safety gate ${name}`);
  const { verdict, checks, figures, reasons } = found;
  return { verdict, checks, figures, reasons, inputs: recordings };
}

const contracts: Gate = {
  name: "contracts",
  features: ["F-122"],
  about: "contracts are well formed and break nobody",
  run: async ({ root }) => {
    if (!hasTool(root, "buf")) return notRun("buf is not installed: run `npm ci`");
    const lint = await runTool(root, "buf", ["lint"]);
    const breaking = await runTool(root, "buf", ["breaking", "--against", ".git#ref=HEAD~1"]);
    const reasons = [lint, breaking].filter(({ status }) => status !== 0).map(({ output }) => output.slice(-600));
    const checks = [check("lint", "=", 0, lint.status), check("breaking", "=", 0, breaking.status)];
    return judged(checks, reasons, [checkoutInput(root, "proto"), checkoutInput(root, "buf.yaml")]);
  },
};

const seedRuns: Gate = {
  name: "simulated_seeds",
  features: ["NF-009"],
  about: "simulated runs with faults hold every invariant",
  run: async ({ root, seeds }) => {
    if (!existsSync(join(root, "test/sim/main.ts"))) return notRun("the simulator is not here: run it in a checkout");
    const args = ["test/sim/main.ts", "--from", "0", "--seeds", String(seeds), "--workers", "2", "--safety", "--json"];
    const { status, output } = await runTool(root, process.execPath, args);
    const failed = [...output.matchAll(/"seed":(\d+)/g)].map(([, seed]) => `npm run sim -- --seed ${seed} --trace`);
    const reasons = status === 0 ? [] : failed.length > 0 ? failed : [output.slice(-600)];
    return judged([check("exit_status", "=", 0, status)], reasons, [checkoutInput(root, "test/sim")], { seeds });
  },
};

const quick: readonly Gate[] = [
  contracts,
  { name: "feature_map", features: [], about: "features have the proofs that the map names", run: featureMap },
  {
    name: "golden_replay",
    features: ["F-127", "NF-009"],
    about: "golden recordings replay, corrupted ones are found",
    run: goldenReplay,
  },
  {
    name: "latency_regression",
    features: ["F-127", "NF-001"],
    about: "simulated calls are no slower than the baseline",
    run: latencyRegression,
  },
  ...safety.map(([name, id, about]) => ({
    ...{ name, about, features: [id] },
    run: (context: GateContext) => safetyGate(name, context),
  })),
];

const full: readonly Gate[] = [
  ...quick,
  {
    name: "recordings_replayed",
    features: ["F-127"],
    about: "recordings re-executed, effect for effect the same",
    run: recordingsReplayed,
  },
  seedRuns,
];

const security: readonly Gate[] = [
  { name: "lockfile", features: [], about: "dependencies pinned and hashed", run: lockfilePinned },
  {
    name: "roles",
    features: ["F-115"],
    about: "every RPC declares its role and is refused without",
    run: byTests(["test/contract/roles.test.ts"]),
  },
  {
    name: "plaintext",
    features: ["F-120"],
    about: "plain text refused where TLS is on",
    run: byTests(["test/integration/mtls.test.ts"], "plain"),
  },
  { name: "secrets", features: ["F-117", "NF-011"], about: "no secret in what a run leaves", run: secretsSearched },
];

const decisions: Gate = {
  name: "fixed_decisions",
  features: ["F-078"],
  about: "profile, providers, transports; streaming compared fairly",
  run: fixedDecisions,
};

export const GATES: Readonly<Record<Level, readonly Gate[]>> = {
  ...{ quick, full, security },
  release: [...full, ...security, decisions],
};
