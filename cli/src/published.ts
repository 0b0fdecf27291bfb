/**
 * Published pipelines of one machine: a file per version, immutable by content (F-002). The registry service takes this
 * part over in a fleet.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InputError } from "./errors.ts";
import type { LoadedPipeline } from "./pipeline.ts";

export interface Published {
  name: string;
  version: string;
  fingerprint: string;
  file: string;
  /** Whether this call published it; false when the same version stood there already. */
  fresh: boolean;
}

/** @throws InputError when the version stands there with another content. */
export async function publish(dataDir: string, pipeline: LoadedPipeline): Promise<Published> {
  const { name, version, fingerprint } = pipeline.compiled;
  const dir = join(dataDir, "pipelines");
  const file = join(dir, `${name}@${version}.json`);
  await mkdir(dir, { recursive: true });
  const content = `${JSON.stringify({ name, version, fingerprint, source: pipeline.source }, null, 2)}\n`;
  try {
    await writeFile(file, content, { flag: "wx" });
    return { name, version, fingerprint, file, fresh: true };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
  }
  const known = JSON.parse(await readFile(file, "utf8")) as { fingerprint: string };
  if (known.fingerprint !== fingerprint) {
    throw new InputError(
      `${pipeline.path}: ${name}@${version} is published with another content (${known.fingerprint.slice(0, 12)}, now ${fingerprint.slice(0, 12)})\n   help: a version never changes once published: raise \`version\` in the spec`,
    );
  }
  return { name, version, fingerprint, file, fresh: false };
}
