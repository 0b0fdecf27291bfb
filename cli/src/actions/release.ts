import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ReleaseOptions } from "../commands/gate.ts";
import { EXIT_FAILED, EXIT_OK, InputError, usageError } from "../errors.ts";
import { MANIFEST_FILE, writeWhole } from "../gate/artefact.ts";
import { buildOf, checkout } from "../gate/build.ts";
import { GATES } from "../gate/levels.ts";
import { releaseOf } from "../gate/release.ts";
import { createPrinter } from "../output/printer.ts";
import { paint, printable } from "../output/style.ts";
import { table } from "../output/table.ts";
import { countWords } from "../output/words.ts";

export function release({ artifacts: dir, version, json }: ReleaseOptions): number {
  if (version === undefined) throw usageError("a release has a version", "name it with --version 1.4.0");
  if (!/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version))
    throw usageError(`${printable(version)} is no version`, "write it as 1.4.0 or 1.4.0-rc.1");
  if (!existsSync(dir))
    throw new InputError(
      `${dir}: there is no such folder\n   help: make the artefacts with \`rspp gate release --artifacts ${dir}\``,
    );
  const gates = GATES.release.map(({ name }) => name);
  const result = releaseOf({ dir, version, gates, build: buildOf(checkout), root: checkout, nowMs: Date.now() });
  const printer = createPrinter(json ?? false);
  if (!("schema" in result)) {
    printer.data({ ok: false, version, refused: result });
    printer.lines(
      table(
        [{ head: "FILE" }, { head: "PROBLEM" }],
        result.map(({ file, problem }) => [file, printable(problem)]),
      ),
    );
    printer.line();
    printer.line(`release ${version} ${paint("red", "REFUSED")}: ${countWords(result.length, "problem")}`);
    printer.line(paint("dim", `help: \`rspp gate release --artifacts ${dir}\` makes the artefacts of this build`));
    return EXIT_FAILED;
  }
  const file = join(dir, MANIFEST_FILE);
  writeWhole(file, `${JSON.stringify(result, null, 2)}\n`);
  printer.data({ ok: true, file, manifest: result });
  printer.line(`release ${version} ${paint("green", "ready")}: ${countWords(result.gates.length, "gate")} passed`);
  printer.line(paint("dim", `manifest in ${file}`));
  return EXIT_OK;
}
