/** The security baseline: by the tests that exist, and by looking at what lies there. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { GateOutcome } from "./artefact.ts";
import { check, checkoutInput, type GateContext, judged, notRun } from "./context.ts";
import { hasTool, runTests } from "./tools.ts";

/** Tests that show it, by what they show. @param name pattern of the tests' titles; empty: all of the files. */
export function byTests(files: readonly string[], name = "") {
  return async ({ root }: GateContext): Promise<GateOutcome> => {
    if (!hasTool(root, "vitest")) return notRun("vitest is not installed: run `npm ci`");
    const { passed, failed, problems } = await runTests(root, files, name);
    const checks = [check("passed", ">=", 1, passed), check("failed", "=", 0, failed)];
    return judged(
      checks,
      problems,
      files.map((file) => checkoutInput(root, file)),
    );
  };
}

interface Lockfile {
  packages?: Record<string, { version?: string; integrity?: string; link?: boolean; inBundle?: boolean }>;
}

interface Package {
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** Every dependency is pinned to one version, and every archive to its hash. */
export function lockfilePinned({ root }: GateContext): GateOutcome {
  const file = "package-lock.json";
  const lock = JSON.parse(readFileSync(join(root, file), "utf8")) as Lockfile;
  const entries = Object.entries(lock.packages ?? {});
  const archives = entries.filter(([path]) => path.includes("node_modules/")).filter(([, { link }]) => link !== true);
  const own = entries.filter(([path]) => path === "" || !path.includes("node_modules/")).map(([path]) => path);
  const unhashed = archives.filter(([, one]) => one.inBundle !== true && !/^sha512-/.test(one.integrity ?? ""));
  const loose = own.flatMap((path) => looseRanges(root, path));
  const reasons = [...unhashed.map(([path]) => `${path} has no SHA-512 in ${file}`), ...loose];
  const checks = [
    check("archives", ">=", 1, archives.length),
    check("without_hash", "=", 0, unhashed.length),
    check("loose_ranges", "=", 0, loose.length),
  ];
  return judged(checks, reasons, [checkoutInput(root, file)]);
}

function looseRanges(root: string, path: string): string[] {
  const file = join(path, "package.json");
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(root, file), "utf8"),
  ) as Package;
  const all = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies });
  return all
    .filter(([, range]) => !/^(npm:.+@)?\d+\.\d+\.\d+(-[\w.]+)?$/.test(range))
    .map(([name, range]) => `${file}: ${name} is ${range}, not one version`);
}

/** What credentials look like whoever issued them. Looked for in bytes, so that no encoding of the record hides them. */
const credentials: readonly (readonly [string, RegExp])[] = [
  ["a private key", /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/],
  ["a bearer token", /\bBearer [A-Za-z0-9._~+/-]{20,}/],
  ["a signed token", /\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}/],
  ["an API key", /\b(?:sk|rk|pk)[-_](?:live|test|proj|ant)[-_][A-Za-z0-9_-]{16,}/],
  ["a cloud access key", /\bAKIA[0-9A-Z]{16}\b/],
];

/** Of what a run left: nothing that looks like a credential. */
export function credentialsIn(paths: readonly string[]): { files: number; found: string[] } {
  const files = paths.flatMap(filesOf);
  const found = files.flatMap((file) => {
    const text = readFileSync(file).toString("latin1");
    return credentials.filter(([, pattern]) => pattern.test(text)).map(([what]) => `${file} holds ${what}`);
  });
  return { files: files.length, found };
}

/** The planted-secrets run over the whole platform, and a look through the recordings that are judged. */
export async function secretsSearched(context: GateContext): Promise<GateOutcome> {
  const planted = await byTests(["test/integration/secrets.test.ts"])(context);
  if (planted.verdict === "not_run") return planted;
  const { files, found } = credentialsIn(context.recordingPaths);
  const checks = [...planted.checks, check("files", ">=", 1, files), check("credentials_found", "=", 0, found.length)];
  return judged(checks, [...planted.reasons, ...found], [...planted.inputs, ...context.recordings]);
}

function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
