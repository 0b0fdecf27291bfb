/** What checks the chart: Helm's own engine, built from its Go module, and Kubernetes' schemas, from a Python package. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { cache, has, once, root, run } from "../polyglot/tools.ts";

export const chart = join(root, "deploy/helm/rspp");
const source = join(root, "test/deploy/render");
/** As of the day the chart was last looked at, and the oldest it says it runs on. */
const versions = ["1.37", "1.30"];

/** False where a tool is missing and need not be there (see `has`). */
export async function hasTools(): Promise<boolean> {
  return (await has("go", "version")) && (await has("python3", "-c", "import ensurepip"));
}

/** The manifests of the chart; throws what Helm says of a bad value. */
export async function render(...values: readonly string[]): Promise<string> {
  const program = join(cache, "bin", "render");
  await once("helm-render", [source], () =>
    run("go", ["build", "-buildvcs=false", "-o", program, "."], { cwd: source }),
  );
  return (await run(program, [chart, ...values], { maxBuffer: 16 << 20 })).stdout;
}

/** What Kubernetes' schemas say against the manifests of a file, unknown fields included. */
export async function refusals(file: string): Promise<string[]> {
  const venv = join(cache, "kubernetes");
  const requirements = join(root, "test/deploy/requirements.txt");
  await once("kubernetes", [requirements], async () => {
    rmSync(venv, { recursive: true, force: true });
    await run("python3", ["-m", "venv", venv]);
    await run(join(venv, "bin/python"), ["-m", "pip", "install", "--quiet", "--requirement", requirements]);
  });
  const asked = versions.map((version) =>
    run(join(venv, "bin/kubernetes-validate"), ["--strict", "--quiet", "-k", version, file], {
      maxBuffer: 16 << 20,
    }).then(
      ({ stdout, stderr }) => stdout + stderr,
      (failure: { stdout?: string; stderr?: string }) => `${failure.stdout}${failure.stderr}` || String(failure),
    ),
  );
  return (await Promise.all(asked)).flatMap((text) => text.split("\n").filter((line) => line !== ""));
}
