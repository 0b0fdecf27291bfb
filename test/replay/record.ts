/**
 * Writes the golden recordings of the behaviours in force: `node test/replay/record.ts [scenario …]`, then format them with
 * `npx biome format --write test/replay/golden`. A recording is written once per behaviour and kept: when a replay of one
 * fails, the kernel changed what a replay can see, and that belongs behind a new number in `behaviours.ts`.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { record, SCENARIOS, TEXT_SCENARIOS } from "./scenarios.ts";

const dir = fileURLToPath(new URL("golden", import.meta.url));
const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : Object.keys({ ...SCENARIOS, ...TEXT_SCENARIOS })) {
  const golden = record(name);
  const file = join(dir, `${name}.b${golden.config.behaviours.join("-")}.json`);
  writeFileSync(file, `${JSON.stringify(golden)}\n`);
  process.stdout.write(`${file}: ${golden.entries.length} steps, ${golden.told.join(" ")}\n`);
}
