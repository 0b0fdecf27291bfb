import { expect, test } from "vitest";
import { overPlatform, parseTenantConfig, sessionLimitsOf } from "./tenant-config.ts";

const text = `schema: rspp/tenant-config/v1
sessions: {concurrent_max: 10, on_concurrent: degrade, starts_per_minute: 60}
turns: {per_minute: 600, on_exceeded: throttle}
placement: {regions: [eu]}
`;
const configOf = (source: string) => {
  const read = parseTenantConfig(source, "tenant.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  return read.value;
};

test("F-050 a tenant's own fields lie over the platform's, the others are inherited", () => {
  const platform = configOf(text);
  const own = configOf("schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 3}\nplacement: {regions: [us]}\n");
  expect(sessionLimitsOf(overPlatform(own, platform))).toEqual({
    concurrent: { max: 3, hardMax: 6, over: "degrade" },
    starts: { perMinute: 60, burst: 6, over: "throttle" },
    regions: ["us"],
  });
  expect(sessionLimitsOf(overPlatform(null, platform)).concurrent).toEqual({ max: 10, hardMax: 20, over: "degrade" });
  expect(sessionLimitsOf(overPlatform(null, null))).toEqual({ concurrent: null, starts: null, regions: [] });
  expect(overPlatform(own, platform).turns).toEqual({ per_minute: 600, on_exceeded: "throttle" });
});

test("F-050 defaults: refused past the number, put off past the rate, at least one start at once", () => {
  const limits = sessionLimitsOf(
    configOf("schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 4, starts_per_minute: 3}\n"),
  );
  expect(limits.concurrent).toEqual({ max: 4, hardMax: 4, over: "reject" });
  expect(limits.starts).toEqual({ perMinute: 3, burst: 1, over: "throttle" });
});

test.each([
  ["schema: rspp/tenant-config/v1\nsessions: {concurrent: 3}\n", 2, "sessions.concurrent", "unknown_field"],
  ["schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 0}\n", 2, "sessions.concurrent_max", "out_of_range"],
  ["schema: rspp/tenant-config/v1\nturns: {on_exceeded: explode}\n", 2, "turns.on_exceeded", "not_allowed"],
  [
    "schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 9, concurrent_hard_max: 3}\n",
    2,
    "sessions.concurrent_hard_max",
    "not_allowed",
  ],
  [
    "schema: rspp/tenant-config/v1\nsessions: {starts_per_minute: 3, start_burst: 9}\n",
    2,
    "sessions.start_burst",
    "not_allowed",
  ],
])("a fault is told with its place and a remedy: %#", (source, line, path, code) => {
  const read = parseTenantConfig(source, "tenant.yaml");
  expect(read.ok ? [] : read.error).toMatchObject([{ line, path, code, remedy: expect.stringMatching(/./) }]);
});

test("X-06 webhooks are https or loopback with a secret by reference; a bare secret, plain http and a user in the address are refused", () => {
  const hook = (url: string, secret = "mount:acme-webhook") =>
    parseTenantConfig(
      `schema: rspp/tenant-config/v1\nwebhooks: [{url: "${url}", secret: "${secret}", events: [session.ended]}]\n`,
      "tenant.yaml",
    );
  for (const url of ["https://example.com/hook?x=1", "http://127.0.0.1:9000/h", "http://localhost/", "http://[::1]:1"])
    expect(hook(url), url).toMatchObject({ ok: true, value: { webhooks: [{ url, events: ["session.ended"] }] } });
  for (const url of [
    "http://example.com/",
    "https://user@example.com/",
    "ftp://example.com/",
    "https://example.com/#x",
    "http://localhost.example.com/",
  ])
    expect(hook(url).ok, url).toBe(false);
  expect(hook("https://example.com/", "whsec_c2VjcmV0").ok).toBe(false);
  expect(JSON.stringify(hook("https://example.com/", "whsec_c2VjcmV0"))).not.toContain("whsec_c2VjcmV0");
});

test("X-06 a tenant's webhooks take the place of the platform's, an empty list turns them off", () => {
  const of = (url: string) => ({ url, secret: "env:S", events: ["session.ended"] as const });
  const platform = { webhooks: [of("https://p.example/")] };
  expect(overPlatform({}, platform).webhooks).toEqual(platform.webhooks);
  expect(overPlatform({ webhooks: [] }, platform).webhooks).toEqual([]);
  expect(overPlatform({ webhooks: [of("https://o.example/")] }, platform).webhooks).toEqual([of("https://o.example/")]);
});
