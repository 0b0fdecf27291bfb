import { expect, test } from "vitest";
import {
  addressOf,
  databaseUrlName,
  environmentOf,
  flagsOf,
  portOf,
  portsOf,
  replicaOf,
  replicasOf,
  stagesOf,
  stopStages,
  type UpOptions,
  upServices,
} from "./plan.ts";

const options: UpOptions = {
  data: "data",
  host: "127.0.0.1",
  portBase: 7_100,
  ports: new Map([["links", 9_999]]),
  processes: true,
  gateway: "service",
  json: false,
  logLevel: "warn",
  stopGraceMs: 5_000,
};

const flagOf = (flags: readonly string[], flag: string): string | undefined => flags[flags.indexOf(`--${flag}`) + 1];

test("ports stand at their place above the base, unless they are set; a base of 0 leaves them free", () => {
  expect(portOf(options, "registry")).toBe(7_101);
  expect(portOf(options, "websocket")).toBe(7_206);
  expect(portOf(options, "links")).toBe(9_999);
  expect(portOf({ ...options, portBase: 0 }, "registry")).toBe(0);
});

test("F-103 runtimes of a local fleet have folders and ports of their own; the first is where it always was", () => {
  const fleet = { ...options, ports: new Map(), runtimes: 3 };
  expect(replicasOf("runtime", fleet)).toBe(3);
  expect([replicasOf("registry", fleet), replicasOf("runtime", options)]).toEqual([1, 1]);
  expect(replicaOf("runtime", fleet, 1)).toBe(fleet);
  const third = replicaOf("runtime", fleet, 3);
  expect([third.data, portOf(third, "runtime"), portOf(third, "links")]).toEqual(["data/runtime-3", 7_123, 7_223]);
  const free = replicaOf("runtime", { ...fleet, portBase: 0 }, 2);
  expect([portOf(free, "runtime"), portOf(free, "links")]).toEqual([0, 0]);
  const all = [1, 2, 3].flatMap((n) =>
    (["runtime", "links"] as const).map((port) => portOf(replicaOf("runtime", fleet, n), port)),
  );
  expect(new Set(all).size).toBe(6);
});

test("a service is told of those it needs, and comes back on the ports it was given", () => {
  const gateway = { url: "http://0.0.0.0:7104", port: 7_104, stream_port: 7_204, addresses: {} };
  const addresses = {
    ...addressOf("registry", { url: "http://127.0.0.1:1" }),
    ...addressOf("provider-gateway", gateway),
  };
  const flags = flagsOf("runtime", options, addresses);
  expect(flagOf(flags, "registry")).toBe("http://127.0.0.1:1");
  expect(flagOf(flags, "gateway")).toBe("http://127.0.0.1:7104");
  expect(flagOf(flags, "gateway-streams")).toBe("127.0.0.1:7204");
  expect(flagOf(flags, "stream-port")).toBe("9999");
  expect(portsOf("provider-gateway", gateway)).toEqual([
    ["provider-gateway", 7_104],
    ["invocations", 7_204],
  ]);
  const adapter = { port: 5, addresses: { websocket: "ws://127.0.0.1:6/v1/session" } };
  expect(portsOf("transport-websocket", adapter)).toEqual([
    ["transport-websocket", 5],
    ["websocket", 6],
  ]);
  const phones = { port: 7, addresses: { telephony: "ws://127.0.0.1:8/v1/twilio/stream" } };
  expect(portsOf("transport-telephony", phones)).toEqual([
    ["transport-telephony", 7],
    ["telephony", 8],
  ]);
  expect(flagOf(flagsOf("transport-telephony", options, addresses), "telephony-port")).toBe("7207");
});

test("NF-012 the database's address is told to none but those that keep something in it", () => {
  const env = { PATH: "/bin", [databaseUrlName]: "postgres://left-over" };
  const told = upServices.filter((service) => environmentOf(service, env, "postgres://url")[databaseUrlName]);
  expect(told).toEqual(["registry", "lease", "replay"]);
  expect(environmentOf("registry", env, "postgres://url")).toEqual({
    PATH: "/bin",
    [databaseUrlName]: "postgres://url",
  });
  expect(environmentOf("runtime", env, "postgres://url")).toEqual({ PATH: "/bin" });
});

test("everything that is started is stopped, and nothing before those that need it", () => {
  expect(
    stagesOf({ ...options, livekit: true })
      .flat()
      .sort(),
  ).toEqual([...upServices].sort());
  expect(stagesOf({ gateway: "library" }).flat()).not.toContain("provider-gateway");
  expect(stagesOf(options).flat()).not.toContain("transport-livekit");
  expect(stopStages.flat().sort()).toEqual([...upServices].sort());
  expect(stopStages[0]).toEqual(["transport-websocket", "transport-telephony", "transport-livekit", "runtime"]);
});
