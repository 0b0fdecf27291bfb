import { expect, test } from "vitest";
import {
  addressOf,
  databaseUrlName,
  environmentOf,
  flagsOf,
  portOf,
  portsOf,
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
  expect(stagesOf(options).flat().sort()).toEqual([...upServices].sort());
  expect(stagesOf({ gateway: "library" }).flat()).not.toContain("provider-gateway");
  expect(stopStages.flat().sort()).toEqual([...upServices].sort());
  expect(stopStages[0]).toEqual(["transport-websocket", "runtime"]);
});
