/**
 * What other languages need: stubs generated from the protos by local plugins, built clients, grpcurl. Kept in `.cache`
 * and made again when protos, clients or versions change. Nothing is fetched but Go modules and Python packages.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const run = promisify(execFile);
export const root = fileURLToPath(new URL("../..", import.meta.url));
export const cache = join(root, ".cache", "polyglot");
const bin = join(cache, "bin");
const goDir = join(root, "test", "polyglot", "go");
const pythonDir = join(root, "test", "polyglot", "python");

let built: Promise<void> | undefined;
let clients: Promise<void> | undefined;

/** A program and what comes before its own arguments. */
export interface Tool {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Whether a toolchain is on this machine. In CI its absence is a failure, elsewhere the tests that need it are skipped. */
export async function has(command: string, ...args: string[]): Promise<boolean> {
  try {
    await run(command, args);
    return true;
  } catch {
    if (process.env.CI === "true") throw new Error(`${command} is missing: CI must bring it`);
    return false;
  }
}

/** One of the tools of go.mod, built from its module: `grpcurl`, `grpc-health-probe` or `connectconformance`. */
export async function goTool(name: string): Promise<Tool> {
  await goTools();
  return { file: join(bin, name), args: [], env: {} };
}

/** JavaScript of the contracts of Connect's conformance suite, as its Go module has them; their folder. */
export async function conformanceContracts(): Promise<string> {
  const out = join(cache, "conformance");
  await once("conformance", [join(goDir, "go.sum")], async () => {
    const module = ["list", "-m", "-f", "{{.Dir}}", "connectrpc.com/conformance"];
    const dir = (await run("go", module, { cwd: goDir })).stdout.trim();
    const opt = ["target=js", "import_extension=js"];
    const template = JSON.stringify({ version: "v2", plugins: [{ local: "protoc-gen-es", out, opt }] });
    await buf(template, join(dir, "proto"));
  });
  return out;
}

/** Programs of Go: a caller's client, an operator's. */
export type Client = "client" | "operator";

export async function goClient(name: Client = "client"): Promise<Tool> {
  await goTools();
  clients ??= once("go-client", [join(root, "proto"), goDir], async () => {
    await buf("test/polyglot/buf.gen.go.yaml");
    await go(["build", "-o", bin, "./client", "./operator"]);
  });
  await clients;
  return { file: join(bin, name), args: [], env: {} };
}

/** Python with the packages of `requirements.txt`. */
async function pythonPath(): Promise<string> {
  const venv = join(cache, "py");
  const python = join(venv, "bin", "python");
  await once("python", [join(pythonDir, "requirements.txt")], async () => {
    rmSync(venv, { recursive: true, force: true });
    await run("python3", ["-m", "venv", venv]);
    await run(python, ["-m", "pip", "install", "--quiet", "--requirement", join(pythonDir, "requirements.txt")]);
  });
  return python;
}

/** OpenAI's own package for Python, on the Realtime endpoint. */
export async function pythonRealtime(): Promise<Tool> {
  return { file: await pythonPath(), args: [join(pythonDir, "realtime_client.py")], env: {} };
}

/** The same of Python. */
export async function pythonClient(name: Client = "client"): Promise<Tool> {
  const python = await pythonPath();
  const stubs = join(cache, "python");
  await once("python-stubs", [join(root, "proto"), join(pythonDir, "requirements.txt")], async () => {
    rmSync(stubs, { recursive: true, force: true });
    mkdirSync(stubs, { recursive: true });
    const protos = filesUnder(join(root, "proto", "rspp")).map((file) => file.slice(join(root, "proto").length + 1));
    const paths = ["-Iproto", "-Iproto/vendor", `--python_out=${stubs}`, `--grpc_python_out=${stubs}`];
    const all = [...protos.filter((file) => file.endsWith(".proto")), "buf/validate/validate.proto"];
    await run(python, ["-m", "grpc_tools.protoc", ...paths, ...all], { cwd: root });
  });
  return {
    file: python,
    args: [join(pythonDir, name === "client" ? "client.py" : "operator_client.py")],
    env: { PYTHONPATH: stubs },
  };
}

/** Runs a tool to its end; gives its standard output whether it succeeded or not. */
export async function use(
  tool: Tool,
  args: readonly string[],
  timeoutMs: number,
): Promise<{ ok: boolean; out: string }> {
  const env = { ...process.env, ...tool.env };
  try {
    const { stdout } = await run(tool.file, [...tool.args, ...args], { env, timeout: timeoutMs, maxBuffer: 16 << 20 });
    return { ok: true, out: stdout };
  } catch (failure) {
    const { stdout = "", stderr = "" } = failure as { stdout?: string; stderr?: string };
    return { ok: false, out: stdout + stderr };
  }
}

async function goTools(): Promise<void> {
  built ??= once("go-tools", [join(goDir, "go.sum")], () => go(["install", "tool"]));
  await built;
}

async function go(args: readonly string[]): Promise<void> {
  const env = { ...process.env, GOBIN: bin, GOFLAGS: "-buildvcs=false" };
  await run("go", args, { cwd: goDir, env, maxBuffer: 16 << 20 });
}

async function buf(template: string, ...inputs: readonly string[]): Promise<void> {
  const path = `${join(root, "node_modules", ".bin")}${delimiter}${process.env.PATH ?? ""}`;
  await run("buf", ["generate", "--template", template, ...inputs], { cwd: root, env: { ...process.env, PATH: path } });
}

/** Does `work` unless it was done with the same inputs before. */
export async function once(name: string, inputs: readonly string[], work: () => Promise<unknown>): Promise<void> {
  mkdirSync(bin, { recursive: true });
  const hash = createHash("sha256");
  const generated = join(goDir, "gen");
  for (const file of inputs.flatMap(filesUnder).filter((path) => !path.startsWith(generated))) {
    hash.update(file).update(readFileSync(file));
  }
  const digest = hash.digest("hex");
  const mark = join(cache, `${name}.done`);
  if (existsSync(mark) && readFileSync(mark, "utf8") === digest) return;
  rmSync(mark, { force: true });
  await work();
  writeFileSync(mark, digest);
}

/** A file itself, or all files of a folder, in order. */
function filesUnder(path: string): string[] {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
