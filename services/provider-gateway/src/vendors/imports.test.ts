import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

/** Starts a gateway of all providers in a process of its own, and prints what of vendors' packages it imported. */
const program = `
  import { registerHooks } from "node:module";
  const seen = new Set();
  registerHooks({ load(url, context, next) { seen.add(url); return next(url, context); } });
  const [{ createProviderGateway }, { createProviders }, { openVendors }, { createSystemClock }] = await Promise.all([
    import("@rspp/provider-gateway/gateway"),
    import("@rspp/provider-gateway/providers"),
    import("@rspp/provider-gateway/vendors/vendors"),
    import("@rspp/host/system-clock"),
    import("@rspp/provider-gateway/definition"),
  ]);
  const clock = createSystemClock();
  const vendors = await openVendors({ env: JSON.parse(process.argv[1] ?? "{}") });
  const gateway = createProviderGateway({ clock, providers: createProviders({ clock, vendors }).slice(4) });
  await gateway.warm();
  const packages = /node_modules\\/(openai|@anthropic-ai|cohere-ai|@google|@google-cloud|@deepgram|@aws-sdk|ws)\\//;
  const code = /provider-gateway\\/src\\/vendors\\/[a-z]+\\/(?!entries|capabilities)/;
  const vendorCode = [...seen].filter((url) => packages.test(url) || code.test(url));
  process.stdout.write(JSON.stringify({ all: seen.size, vendorCode }), () => process.exit(0));
`;

function importsWith(env: Record<string, string>): { all: number; vendorCode: string[] } {
  const argv = ["--input-type=module", "--eval", program, JSON.stringify(env)];
  const ran = spawnSync(process.execPath, argv, { encoding: "utf8", cwd: import.meta.dirname, timeout: 60_000 });
  expect(ran.stderr.replaceAll(/^\(node:.*$/gm, "").trim()).toBe("");
  return JSON.parse(ran.stdout) as { all: number; vendorCode: string[] };
}

test("F-055 a vendor's code is imported where it is configured, and nowhere else", () => {
  const none = importsWith({});
  expect(none.all).toBeGreaterThan(50);
  expect(none.vendorCode).toEqual([]);
  const one = importsWith({ OPENAI_API_KEY: "k" });
  expect(one.vendorCode.some((url) => url.endsWith("/vendors/openai/chat.ts"))).toBe(true);
});
