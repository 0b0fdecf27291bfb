import { InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { connectRpc } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { route } from "@rspp/rpc/route";
import { type RpcServer, startRpcServer } from "@rspp/rpc/server";
import { expect, onTestFinished, test } from "vitest";
import { type Reporter, startReporter } from "./instance-report.ts";

/** A registry that keeps what it was told. */
async function registryOf(port: number, told: { sessions: number; draining: boolean }[]): Promise<RpcServer> {
  const instances = route(InstanceService, {
    reportInstance: async function* (reports) {
      for await (const { status } of reports) {
        told.push({ sessions: status?.sessions ?? -1, draining: status?.draining ?? false });
        yield { reportEveryMs: 20 };
      }
    },
  });
  return startRpcServer({ domain: "registry", port, routes: [instances] });
}

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
};

test("F-159 an instance tells now and then, at once when asked, again after the registry was away, and last that it goes", async () => {
  const told: { sessions: number; draining: boolean }[] = [];
  const first = await registryOf(0, told);
  const registry = connectRpc({ baseUrl: `http://127.0.0.1:${first.port}`, domain: "registry", attemptsMax: 1 });
  let sessions = 0;
  let draining = false;
  const status = {
    instanceId: "a",
    role: "transport-websocket",
    region: "",
    build: "1",
    capacitySessions: 1,
    ready: true,
  };
  const reporter: Reporter = startReporter({
    registry,
    log: silentLog,
    report: () => ({ ...status, sessions: sessions++, draining, endpoints: [] }),
  });
  expect(await reporter.first(5_000)).toBe(true);
  await until(() => told.length >= 3);
  expect(told.map((one) => one.sessions)).toEqual(told.map((_, at) => at));
  await first.stop(0);
  const before = told.length;
  const second = await registryOf(first.port, told);
  onTestFinished(async () => void (await second.stop(0)));
  await until(() => told.length > before + 1);
  draining = true;
  await reporter.stop();
  const after = told.length;
  expect(told.at(-1)).toMatchObject({ draining: true });
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toHaveLength(after);
});

test("a registry that is not there keeps nobody from starting or stopping", async () => {
  const registry = connectRpc({ baseUrl: "http://127.0.0.1:9", domain: "registry", attemptsMax: 1 });
  const status = { instanceId: "a", role: "x", region: "", build: "1", capacitySessions: 1, sessions: 0 };
  const report = () => ({ ...status, ready: true, draining: false, endpoints: [] });
  const reporter = startReporter({ registry, log: silentLog, report });
  expect(await reporter.first(20)).toBe(false);
  await reporter.stop();
});

test("F-159 what is to be told at once is told at once, also when it comes up while an answer is awaited", async () => {
  const told: boolean[] = [];
  let answer: () => void = () => {};
  const instances = route(InstanceService, {
    reportInstance: async function* (reports) {
      for await (const { status } of reports) {
        told.push(status?.draining ?? false);
        if (told.length === 1) {
          await new Promise<void>((resolve) => {
            answer = resolve;
          });
        }
        yield { reportEveryMs: 5_000 };
      }
    },
  });
  const server = await startRpcServer({ domain: "registry", port: 0, routes: [instances] });
  onTestFinished(async () => void (await server.stop(0)));
  const registry = connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "registry", attemptsMax: 1 });
  let draining = false;
  const status = { instanceId: "a", role: "x", region: "", build: "1", capacitySessions: 1, sessions: 0 };
  const report = () => ({ ...status, ready: !draining, draining, endpoints: [] });
  const reporter = startReporter({ registry, log: silentLog, report });
  onTestFinished(() => reporter.stop());
  await until(() => told.length === 1);
  draining = true;
  reporter.now();
  const beganMs = performance.now();
  answer();
  await until(() => told.length === 2);
  expect(told).toEqual([false, true]);
  expect(performance.now() - beganMs).toBeLessThan(4_000);
});
