import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createProviderGateway, type ProviderGateway } from "../gateway.ts";
import { systemClock } from "../testing/clocks.ts";
import { startMcpServer } from "../testing/mcp-server.ts";
import { recorder, request } from "../testing/recorder.ts";
import { toolAccess } from "./access.ts";
import { createMcpTool } from "./mcp.ts";

const clock = systemClock();
const program = new URL("../testing/mcp-server.ts", import.meta.url).pathname;
let server: Awaited<ReturnType<typeof startMcpServer>>;
let gateway: ProviderGateway;

beforeAll(async () => {
  server = await startMcpServer();
  const commands = [`shop=${process.execPath} ${program}`, "gone=/no/such/program"];
  const access = toolAccess({ origins: [server.origin, "http://127.0.0.1:9"], commands, secrets: [] });
  gateway = createProviderGateway({ clock, providers: [createMcpTool({ clock, access })] });
});
afterAll(async () => {
  await gateway.close();
  await server.close();
});

function call(settings: Record<string, string>, args = "{}", deadlineMs = 5_000, key = "s/tool/1/1") {
  const sink = recorder();
  const open = request({
    modality: "tool",
    provider: "tool/mcp",
    settings,
    attemptTimeoutMs: deadlineMs,
    idempotencyKey: key,
  });
  const invocation = gateway.open({ ...open, settings: { side_effect: "none", ...settings } }, sink);
  invocation.push({ kind: "text", text: args, segment: 0 });
  invocation.finish();
  return { sink, invocation };
}

const until = async (done: () => boolean): Promise<void> => {
  for (let i = 0; i < 5_000 && !done(); i++) await new Promise((resolve) => setImmediate(resolve));
  expect(done()).toBe(true);
};

describe("a server over HTTP", () => {
  test("X-03 its tool is called with the key; structured content is the result, else its text", async () => {
    const add = call({ url: server.url, tool: "add" }, '{"a":2,"b":3}');
    expect(await add.sink.ended).toEqual({ kind: "success", detail: "" });
    expect(add.sink.text()).toBe('{"sum":5}');
    const greet = call({ url: server.url, tool: "greet" }, '{"name":"Ann"}');
    await greet.sink.ended;
    expect(greet.sink.text()).toBe("hello Ann");
    expect(server.hits.calls).toEqual(["add s/tool/1/1", "greet s/tool/1/1"]);
  });

  test("X-03 an error of the tool is told to the model, and is an error", async () => {
    const { sink } = call({ url: server.url, tool: "fail" });
    expect(await sink.ended).toEqual({ kind: "error", detail: "the tool reported an error" });
    expect(sink.text()).toBe('{"error":"no such customer"}');
  });

  test("X-03 a cancel and a deadline reach the server", async () => {
    const { sink, invocation } = call({ url: server.url, tool: "slow" });
    await until(() => server.hits.calls.at(-1)?.startsWith("slow") === true);
    invocation.cancel("barge_in");
    expect(await sink.ended).toMatchObject({ kind: "cancelled" });
    await until(() => server.hits.cancelled === 1);
    const late = call({ url: server.url, tool: "slow" }, "{}", 80);
    expect(await late.sink.ended).toMatchObject({ kind: "timeout" });
    await until(() => server.hits.cancelled === 2);
  });

  test("X-03 a side-effecting call goes on under a cancel, and is not made twice", async () => {
    const before = server.hits.calls.length;
    const settings = { url: server.url, tool: "slow", side_effect: "side_effecting" };
    const { sink, invocation } = call(settings, "{}", 5_000, "s/tool/7/1");
    await until(() => server.hits.calls.length === before + 1);
    invocation.cancel("barge_in");
    expect(await sink.ended).toMatchObject({ kind: "cancelled" });
    const again = call(settings, "{}", 5_000, "s/tool/7/1");
    expect(await again.sink.ended).toMatchObject({ kind: "error" });
    server.hits.release();
    expect(server.hits.cancelled).toBe(2);
    expect(server.hits.calls).toHaveLength(before + 1);
  });
});

describe("a server as a child process", () => {
  test("X-03 is started once, by the name the operator gave it", async () => {
    const first = call({ command: "shop", tool: "add" }, '{"a":20,"b":1}', 20_000);
    const second = call({ command: "shop", tool: "greet" }, '{"name":"Bob"}', 20_000);
    expect(await first.sink.ended).toMatchObject({ kind: "success" });
    await second.sink.ended;
    expect([first.sink.text(), second.sink.text()]).toEqual(['{"sum":21}', "hello Bob"]);
  });
});

describe("what cannot be called", () => {
  test.each([
    ["an address nobody allowed", { url: "http://127.0.0.1:1/mcp", tool: "add" }, "error", "tool_origins"],
    ["a program nobody allowed", { command: "rm -rf", tool: "add" }, "error", "tool_commands"],
    ["a program that is not there", { command: "gone", tool: "add" }, "disconnect", "connection"],
    ["a server that is not there", { url: "http://127.0.0.1:9/mcp", tool: "add" }, "disconnect", "connection"],
  ])("NF-011 X-03 %s", async (_, settings, kind, told) => {
    const { sink } = call(settings);
    expect(await sink.ended).toMatchObject({ kind, detail: expect.stringContaining(told) });
  });
});
