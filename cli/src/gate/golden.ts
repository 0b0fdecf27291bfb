/** Replay regression (F-127): golden recordings come out as they were recorded, corrupted ones are found out. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type JournalEntry, replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { GateOutcome } from "./artefact.ts";
import { check, checkoutInput, type GateContext, judged } from "./context.ts";

interface Golden {
  readonly told: readonly string[];
  readonly config: SessionConfig;
  readonly entries: JournalEntry[];
}

const folder = "test/replay/golden";

/** Each spoils what a replay must not overlook. */
const corruptions: readonly (readonly [string, (golden: Golden) => boolean])[] = [
  ["another policy snapshot", ({ config }) => Object.assign(config.snapshots, { policy: "policy@999" }) !== null],
  ["another seed and tenant", ({ config }) => Object.assign(config, { seed: "another", tenantId: "another" }) !== null],
  ["a report under another epoch", (golden) => spoilInput(golden, "delivery", { epoch: 0 })],
  ["a step taken out", ({ entries }) => entries.splice(Math.floor(entries.length / 2), 1).length === 1],
];

export function goldenReplay({ root, level }: GateContext): GateOutcome {
  const all = readdirSync(join(root, folder)).filter((name) => name.endsWith(".json"));
  const names = level === "quick" ? all.filter((name) => !all.some((other) => isLater(other, name))) : all;
  const reasons: string[] = [];
  let same = 0;
  let corrupted = 0;
  let found = 0;
  for (const name of names) {
    const text = readFileSync(join(root, folder, name), "utf8");
    const difference = differenceOf(JSON.parse(text) as Golden);
    if (difference === "") same += 1;
    else reasons.push(`${name}: ${difference}`);
    for (const [what, corrupt] of corruptions) {
      const golden = JSON.parse(text) as Golden;
      if (!corrupt(golden)) continue;
      corrupted += 1;
      if (differenceOf(golden) !== "") found += 1;
      else reasons.push(`${name}: ${what} is not found`);
    }
  }
  const checks = [
    check("recordings", ">=", 1, names.length),
    check("replayed_identically", "=", names.length, same),
    check("corrupted_found", "=", corrupted, found),
    check("corrupted", ">=", names.length, corrupted),
  ];
  return judged(checks, reasons, [checkoutInput(root, folder)]);
}

/** The same scenario with more behaviours in force: `question.b1-2` is later than `question.b1`. */
function isLater(other: string, name: string): boolean {
  const stem = name.replace(/\.json$/, "");
  return other.startsWith(`${stem}-`);
}

/** Empty where it replays as it was recorded. */
function differenceOf({ config, entries, told }: Golden): string {
  const signals: string[] = [];
  try {
    const { divergences, steps } = replayJournal(config, entries, {
      onStep: (_batch, effects) => {
        for (const effect of effects) {
          if (effect.type !== "signal") continue;
          const { signal, turn, reason } = effect.event;
          signals.push(`${signal}${turn === 0 ? "" : `#${turn}`}${reason === "" ? "" : `(${reason})`}`);
        }
      },
    });
    const [first] = divergences;
    if (first !== undefined) return `diverged at step ${first.batch}: ${first.class}`;
    if (steps !== entries.length) return `${steps} of ${entries.length} steps were replayed`;
    return signals.join(" ") === told.join(" ") ? "" : "other signals than were recorded";
  } catch (failure) {
    return `it cannot be replayed: ${failure instanceof Error ? failure.message : String(failure)}`;
  }
}

function spoilInput({ entries }: Golden, type: string, change: object): boolean {
  const body = entries.flatMap(({ batch }) => batch.inputs).find((input) => input.body.type === type)?.body;
  if (body === undefined) return false;
  Object.assign(body, change);
  return true;
}
