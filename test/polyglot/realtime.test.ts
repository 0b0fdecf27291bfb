/** OpenAI's Python package, unchanged, against a platform that knows it by address, key and pipeline alone (F-084, F-088). */
import { join } from "node:path";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { AccessService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { beforeAll, expect, test } from "vitest";
import { pocketsphinx, tempDir } from "../e2e/rspp.ts";
import { type Up, upWith } from "../e2e/up-rig.ts";
import { questionPath } from "../fixtures/questions.ts";
import { has, pythonRealtime, type Tool, use } from "./tools.ts";

const there = await has("python3", "-c", "import venv");

interface Seen {
  types: string[];
  errors: string[];
  heard: string[];
  truncated_ms: number[];
  responses: string[];
}

let client: Tool;

beforeAll(async () => {
  if (there) client = await pythonRealtime();
}, 600_000);

async function talk(platform: Up, role: Role.VIEWER | Role.OPERATOR): Promise<Seen> {
  const minter = platform.registry.client(AccessService);
  const { minted } = await minter.createToken({ tenantId: "local", role, subject: "caller", ttlMs: 3_600_000n });
  const url = platform.platform.websocket.replace(/\/session$/, "");
  const asked = { url, key: minted?.token ?? "", model: "voice-assistant" };
  const wavs = { first: questionPath("story"), second: questionPath("february") };
  const args = Object.entries({ ...asked, ...wavs }).flatMap(([name, value]) => [`--${name}`, value]);
  const { out } = await use(client, args, 100_000);
  const line = out.split("\n").find((one) => one.startsWith("{"));
  if (line === undefined) throw new Error(out);
  return JSON.parse(line) as Seen;
}

test.skipIf(!there)(
  "F-039 F-084 F-088 PyPI openai asks by voice, speaks over the answer, is answered again; its key is an operator's",
  async () => {
    const env = { TOKEN: "a-token-of-this-test-alone", RSPP_SERVICE_TOKEN: "env:TOKEN", RSPP_REALTIME_ROUTES: "local" };
    const platform = await upWith({ env }, join(tempDir(), "data"));
    const seen = await talk(platform, Role.OPERATOR);
    expect(seen.errors).toEqual([]);
    // A greeting, an answer that was cut, the answer to what cut it.
    expect(seen.responses).toEqual(["completed", "cancelled", "completed"]);
    expect(seen.truncated_ms).toHaveLength(1);
    expect(seen.truncated_ms[0]).toBeGreaterThan(100);
    if (pocketsphinx !== undefined) expect(seen.heard).toEqual(["tell me a story", "how many days are in february"]);
    const refused = await talk(platform, Role.VIEWER);
    expect(refused.errors).toEqual([expect.stringContaining("permission_denied")]);
    expect(refused.responses).toEqual([]);
  },
  240_000,
);
