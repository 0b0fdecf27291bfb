/** Other languages: a Python and a Go client over generated stubs, and grpcurl, against services in processes of their own. */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { pocketsphinx, tempDir } from "../e2e/rspp.ts";
import { type Up, up } from "../e2e/up-rig.ts";
import { goClient, goTool, has, pythonClient, root, type Tool, use } from "./tools.ts";

const BUILD_MS = 600_000;
const withGo = await has("go", "version");
const withPython = await has("python3", "-c", "import venv");

/** `host:port` of a service's API. */
const addressOf = (platform: Up, service: string): string => new URL(platform.line(service).url).host;
const started = (): Promise<Up> => up(join(tempDir(), "data"), "--processes");

/** The template under a name of its own, so that each client publishes its own first version. */
function specOf(name: string, version = 1): string {
  const text = readFileSync(join(root, "pipelines/specs/voice-assistant.yaml"), "utf8");
  const file = join(tempDir(), `${name}-${version}.yaml`);
  const named = text.replace(/^name: .*$/m, `name: ${name}`).replace(/^version: .*$/m, `version: ${version}`);
  writeFileSync(file, version === 1 ? named : named.replace("Welcome.", "Good day."));
  return file;
}

interface Outcome {
  ok: boolean;
  error: string | null;
  pipeline: string;
  unchanged: boolean;
  session: string;
  epoch: number;
  finals: string[];
  heard_us: Record<string, number>;
  after_flush: number;
  timeline: Record<string, number>;
}

async function talk(client: Tool, language: string): Promise<Outcome> {
  const platform = await started();
  const wav = join(tempDir(), "question.wav");
  copyFileSync(join(root, "cli/assets/question-2.wav"), wav);
  const transcript = readFileSync(join(root, "cli/assets/question-2.txt"), "utf8").trim();
  const flag = language === "go" ? "-" : "--";
  const args = {
    registry: addressOf(platform, "registry"),
    lease: addressOf(platform, "lease"),
    replay: addressOf(platform, "replay"),
    spec: specOf(`from-${language}`),
    wav,
    transcript,
  };
  const given = Object.entries(args).flatMap(([name, value]) => [`${flag}${name}`, value]);
  const { out } = await use(client, [...given, `${flag}greets`], 180_000);
  return JSON.parse(out.trim().split("\n").at(-1) ?? "") as Outcome;
}

describe.each([
  ["python", withPython, pythonClient],
  ["go", withGo, goClient],
] as const)("a client in %s", (language, there, make) => {
  let client: Tool;

  beforeAll(async () => {
    if (there) client = await make();
  }, BUILD_MS);

  test.skipIf(!there)(
    "publishes, is routed, holds a session over a link, hears an answer, reads the timeline",
    async () => {
      const outcome = await talk(client, language);
      expect(outcome).toMatchObject({
        ok: true,
        error: null,
        pipeline: `from-${language}@1`,
        unchanged: false,
        after_flush: 0,
      });
      expect(outcome.epoch).toBeGreaterThan(0);
      // The greeting, and the answer to the question.
      expect(Object.keys(outcome.heard_us)).toEqual(["1", "2"]);
      for (const us of Object.values(outcome.heard_us)) expect(us).toBeGreaterThan(500_000);
      if (pocketsphinx !== undefined) expect(outcome.finals).toContain("how many days are in february");
      expect(outcome.timeline).toMatchObject({ header: 1, evidence: 2 });
    },
    240_000,
  );
});

describe.each([
  ["python", withPython, pythonClient, "RESOURCE_EXHAUSTED"],
  ["go", withGo, goClient, "ResourceExhausted"],
] as const)("an operator in %s", (language, there, make, refused) => {
  let operator: Tool;

  beforeAll(async () => {
    if (there) operator = await make("operator");
  }, BUILD_MS);

  test.skipIf(!there)(
    "F-093 F-106 watches snapshots and acknowledges them, rolls out, drains a runtime and lets it take calls again",
    async () => {
      const platform = await started();
      const flag = language === "go" ? "-" : "--";
      const args = {
        registry: addressOf(platform, "registry"),
        specs: [1, 2].map((version) => specOf(`operated-${language}`, version)).join(),
      };
      const given = Object.entries(args).flatMap(([name, value]) => [`${flag}${name}`, value]);
      const { out } = await use(operator, given, 120_000);
      const pipeline = `operated-${language}@2`;
      expect(JSON.parse(out.trim().split("\n").at(-1) ?? "")).toEqual({
        ok: true,
        error: null,
        pipeline,
        routed: pipeline,
        refused,
        again: true,
        rising: true,
      });
    },
    240_000,
  );
});

const services: Readonly<Record<string, string>> = {
  registry: "rspp.registry.v1.RegistryService",
  lease: "rspp.lease.v1.LeaseService",
  replay: "rspp.replay.v1.TimelineService",
  runtime: "rspp.runtime.v1.SessionService",
  "provider-gateway": "rspp.provider.v1.ProviderService",
  "transport-websocket": "grpc.health.v1.Health",
};
/** Links and invocations have ports of their own. */
const streams = [
  ["runtime", "rspp.runtime.v1.LinkService"],
  ["provider-gateway", "rspp.provider.v1.ProviderService"],
] as const;

describe("grpcurl", () => {
  let tool: Tool;
  let probe: Tool;

  beforeAll(async () => {
    if (withGo) [tool, probe] = await Promise.all([goTool("grpcurl"), goTool("grpc-health-probe")]);
  }, BUILD_MS);

  test.skipIf(!withGo)(
    "F-108 NF-013 every port lists, describes and answers health; what is wrong is refused with its field",
    async () => {
      const platform = await started();
      for (const [service, name] of Object.entries(services)) {
        const address = addressOf(platform, service);
        expect((await use(tool, ["-plaintext", address, "list"], 20_000)).out).toContain(name);
        const described = await use(tool, ["-plaintext", address, "describe", name], 20_000);
        expect(described).toMatchObject({
          ok: true,
          out: expect.stringContaining(`service ${name.split(".").at(-1)}`),
        });
        const health = await use(tool, ["-plaintext", address, "grpc.health.v1.Health/Check"], 20_000);
        expect(JSON.parse(health.out)).toEqual({ status: "SERVING" });
        expect(await use(probe, ["-addr", address, "-connect-timeout", "10s"], 20_000)).toMatchObject({ ok: true });
      }
      for (const [service, name] of streams) {
        const { host, stream_port: port } = platform.line(service);
        expect(await use(probe, ["-addr", `${host}:${port}`], 20_000)).toMatchObject({ ok: true });
        const described = await use(tool, ["-plaintext", `${host}:${port}`, "describe", name], 20_000);
        expect(described).toMatchObject({ ok: true, out: expect.stringContaining("stream") });
      }
      const wrong = '{"tenant_id": "local", "pipeline_name": "Not A Name", "idempotency_key": "k"}';
      const ask = ["-plaintext", "-d", wrong, addressOf(platform, "registry")];
      const refused = await use(tool, [...ask, "rspp.registry.v1.RegistryService/CreateRoute"], 20_000);
      expect(refused.ok).toBe(false);
      expect(refused.out).toContain("InvalidArgument");
      expect(refused.out).toContain("pipeline_name");
    },
    240_000,
  );
});
