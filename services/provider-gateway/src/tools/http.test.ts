import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createProviderGateway } from "../gateway.ts";
import { systemClock } from "../testing/clocks.ts";
import { describeConformance } from "../testing/conformance.ts";
import { recorder, request } from "../testing/recorder.ts";
import { held, says, startWebhook, type Webhook } from "../testing/tool-servers.ts";
import { type ToolAccess, toolAccess } from "./access.ts";
import { createHttpTool } from "./http.ts";

let hook: Webhook;
beforeAll(async () => {
  hook = await startWebhook();
});
afterAll(() => hook.close());
afterEach(() => {
  hook.hits.length = 0;
  hook.aborted = 0;
  hook.answer = says({});
});

const clock = systemClock();
const SCHEMA = JSON.stringify({
  type: "object",
  properties: { account: { type: "string", maxLength: 10 }, amount: { type: "integer", minimum: 1 } },
  required: ["account"],
  additionalProperties: false,
});

interface Over {
  settings?: Record<string, string | number | readonly string[]>;
  deadlineMs?: number;
  key?: string;
  access?: ToolAccess;
}

const all = (): ToolAccess =>
  toolAccess({ origins: [hook.origin], commands: [], secrets: ["env:KEY"] }, { KEY: "k-1234" });

/** Two calls may share a provider, as those of one gateway do. */
function provider(access = all()) {
  const gateway = createProviderGateway({ clock, providers: [createHttpTool({ clock, access })] });
  return { gateway, call: (args: string, over: Over = {}) => call(gateway, args, over) };
}

function call(gateway: ReturnType<typeof createProviderGateway>, args: string, over: Over) {
  const sink = recorder();
  const settings = { url: hook.url, parameters: SCHEMA, side_effect: "none", ...over.settings };
  const invocation = gateway.open(
    request({
      modality: "tool",
      provider: "tool/http",
      settings,
      attemptTimeoutMs: over.deadlineMs ?? 3_000,
      idempotencyKey: over.key ?? "s/tool/1/1",
      headers: { traceparent: "00-a-b-01" },
    }),
    sink,
  );
  invocation.push({ kind: "text", text: args, segment: 0 });
  invocation.finish();
  return { sink, invocation };
}

const until = async (done: () => boolean): Promise<void> => {
  for (let i = 0; i < 2_000 && !done(); i++) await new Promise((resolve) => setImmediate(resolve));
  expect(done()).toBe(true);
};

describe("conformance", () => {
  describeConformance({
    create: (own) => createHttpTool({ clock: own, access: toolAccess({ origins: ["*"], commands: [], secrets: [] }) }),
    clock: "system",
    settings: {
      side_effect: "none",
      get url() {
        return hook.url;
      },
    },
    feed: (invocation) => invocation.push({ kind: "text", text: "{}", segment: 0 }),
    badSetting: { name: "method", value: "BREW" },
  });
});

describe("a webhook", () => {
  test("X-03 is called with the arguments, the key and its secrets; what it answers is the result", async () => {
    hook.answer = says({ amount: 5 });
    const { sink } = provider().call('{"account":"a"}', { settings: { headers: ["authorization: env:KEY"] } });
    expect(await sink.ended).toEqual({ kind: "success", detail: "" });
    expect(sink.text()).toBe('{"amount":5}');
    expect(hook.hits).toMatchObject([
      {
        method: "POST",
        body: '{"account":"a"}',
        headers: { authorization: "k-1234", "idempotency-key": "s/tool/1/1", traceparent: "00-a-b-01" },
      },
    ]);
  });

  test("X-03 a GET has the arguments in its query; an empty answer is a success without a result", async () => {
    hook.answer = (response) => void response.writeHead(204).end();
    const { sink } = provider().call('{"account":"a b","amount":2}', { settings: { method: "GET" } });
    expect(await sink.ended).toEqual({ kind: "success", detail: "" });
    expect(sink.chunks).toEqual([]);
    expect(hook.hits[0]?.url).toBe("/tool?account=a+b&amount=2");
  });

  test.each([
    ["no JSON", "{account", "no JSON object"],
    ["a list", "[1]", "no JSON object"],
    ["a missing field", "{}", "account"],
    ["a field of another type", '{"account":7}', "must be string"],
    ["a field too many", '{"account":"a","x":1}', "additional"],
  ])("X-03 arguments that are %s are never sent: the model is told what does not fit", async (_, args, problem) => {
    const { sink } = provider().call(args);
    expect((await sink.ended).kind).toBe("error");
    expect(sink.text()).toContain(problem);
    expect(hook.hits).toEqual([]);
  });

  test.each([
    [400, "error", true],
    [401, "unauthorized", false],
    [404, "error", true],
    [408, "timeout", false],
    [500, "error", false],
    [504, "timeout", false],
  ])("X-03 HTTP %i ends as %s", async (status, kind, told) => {
    hook.answer = says({ message: "why" }, status);
    const { sink } = provider().call('{"account":"a"}', { settings: { side_effect: "side_effecting" } });
    expect(await sink.ended).toMatchObject({ kind, detail: expect.stringContaining(`HTTP ${status}`) });
    expect(sink.text().includes("why")).toBe(told);
    expect(hook.hits).toHaveLength(1);
  });

  test("X-03 a redirect is not followed", async () => {
    hook.answer = (response) => void response.writeHead(302, { location: `${hook.origin}/else` }).end();
    const { sink } = provider().call('{"account":"a"}');
    expect(await sink.ended).toMatchObject({ kind: "error", detail: "HTTP 302: redirects are not followed" });
    expect(hook.hits).toHaveLength(1);
  });

  test("X-03 a result beyond its bound is refused, and not read to its end", async () => {
    hook.answer = (response) => {
      const more = (): void => {
        while (!response.destroyed && response.write("x".repeat(10_000)));
      };
      response.on("drain", more);
      more();
    };
    const { sink } = provider().call('{"account":"a"}', { settings: { result_bytes_max: 1_000 } });
    expect(await sink.ended).toMatchObject({ kind: "error", detail: "the result is longer than 1000 bytes" });
    await until(() => hook.aborted === 1);
  });

  test("X-03 a long result comes in pieces that any line takes, whole", async () => {
    const long = `${"x".repeat(16_383)}😀${"y".repeat(20_000)}`;
    hook.answer = (response) => void response.end(long);
    const { sink } = provider().call('{"account":"a"}', { settings: { result_bytes_max: 60_000 } });
    expect((await sink.ended).kind).toBe("success");
    expect(sink.text()).toBe(long);
    expect(sink.chunks.map((chunk) => (chunk.kind === "text" ? chunk.text.length : 0))).toEqual([
      16_383, 16_384, 3_618,
    ]);
  });

  test("X-03 what passes is tried again under one key where that does nothing twice, else never", async () => {
    const failing = (): void => {
      hook.hits.length = 0;
      hook.answer = (response, hit) =>
        hook.hits.length < 3 ? says({}, 503)(response, hit) : says({ ok: true })(response, hit);
    };
    failing();
    const again = provider().call('{"account":"a"}', { settings: { side_effect: "idempotent" } });
    expect(await again.sink.ended).toMatchObject({ kind: "success" });
    expect(new Set(hook.hits.map(({ headers }) => headers["idempotency-key"])).size).toBe(1);
    expect(hook.hits).toHaveLength(3);
    failing();
    const once = provider().call('{"account":"a"}', { settings: { side_effect: "side_effecting" } });
    expect(await once.sink.ended).toMatchObject({ kind: "overload" });
    expect(hook.hits).toHaveLength(1);
  });

  test("X-03 a side-effecting call is not made a second time under its key, by whatever invocation", async () => {
    const { call: again } = provider();
    const settings = { side_effect: "side_effecting" };
    await again('{"account":"a"}', { settings }).sink.ended;
    const second = again('{"account":"a"}', { settings });
    expect(await second.sink.ended).toMatchObject({ kind: "error", detail: expect.stringContaining("not made twice") });
    expect(hook.hits).toHaveLength(1);
    await again('{"account":"a"}', { settings, key: "s/tool/1/2" }).sink.ended;
    expect(hook.hits).toHaveLength(2);
  });

  test("X-03 the deadline ends a call of any class", async () => {
    hook.answer = held().answer;
    for (const [n, side_effect] of ["none", "side_effecting"].entries()) {
      const { sink } = provider().call('{"account":"a"}', { settings: { side_effect }, deadlineMs: 60 });
      expect(await sink.ended).toMatchObject({ kind: "timeout" });
      await until(() => hook.aborted === n + 1);
    }
  });

  test("X-03 a cancel cuts off what has no effect; what has one goes on to its end, once", async () => {
    const waiting = held();
    hook.answer = waiting.answer;
    const harmless = provider().call('{"account":"a"}');
    await until(() => hook.hits.length === 1);
    harmless.invocation.cancel("barge_in");
    expect(await harmless.sink.ended).toMatchObject({ kind: "cancelled" });
    await until(() => hook.aborted === 1);
    const order = provider().call('{"account":"a"}', { settings: { side_effect: "side_effecting" } });
    await until(() => hook.hits.length === 2);
    order.invocation.cancel("session_end");
    expect(await order.sink.ended).toMatchObject({ kind: "cancelled" });
    waiting.release({ ordered: true });
    await new Promise((resolve) => setImmediate(resolve));
    expect(hook.aborted).toBe(1);
    expect(order.sink.chunks).toEqual([]);
    expect(hook.hits).toHaveLength(2);
  });

  test("X-03 a call that is cancelled before it is sent is never sent", async () => {
    const { call: next } = provider();
    const settings = { side_effect: "side_effecting" };
    const { sink, invocation } = next('{"account":"a"}', { settings });
    invocation.cancel("barge_in");
    expect(await sink.ended).toMatchObject({ kind: "cancelled" });
    await next('{"account":"b"}', { settings, key: "s/tool/1/2" }).sink.ended;
    expect(hook.hits.map(({ body }) => body)).toEqual(['{"account":"b"}']);
  });

  test("NF-011 X-03 only what the operator allows is called, and only with secrets he allows; none is ever told", async () => {
    const none = toolAccess({ origins: ["http://other.test"], commands: [], secrets: [] }, { KEY: "k-1234" });
    const refused = await provider(none).call('{"account":"a"}').sink.ended;
    expect(refused).toMatchObject({ kind: "error", detail: expect.stringContaining("tool_origins") });
    const secret = provider().call('{"account":"a"}', { settings: { headers: ["x-key: env:PATH"] } });
    expect(await secret.sink.ended).toMatchObject({ kind: "unauthorized" });
    expect(hook.hits).toEqual([]);
    hook.answer = (response) => void response.destroy();
    const gone = provider().call('{"account":"a"}', {
      settings: { headers: ["x-key: env:KEY"], side_effect: "side_effecting" },
    });
    const outcome = await gone.sink.ended;
    expect(outcome).toMatchObject({ kind: "disconnect" });
    expect(JSON.stringify([outcome, gone.sink.chunks])).not.toMatch(/k-1234|127\.0\.0\.1|account/);
  });

  test("X-03 whatever a model writes as arguments: one outcome, and only what fits is sent", async () => {
    const { call: any } = provider();
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string(), fc.constant('{"account":"a"}')), async (args) => {
        hook.hits.length = 0;
        const { sink } = any(args);
        const { kind } = await sink.ended;
        expect(sink.outcomes).toHaveLength(1);
        expect(hook.hits.length).toBe(kind === "success" ? 1 : 0);
        for (const { body } of hook.hits) expect(JSON.parse(body)).toEqual(JSON.parse(args));
      }),
      { numRuns: 100 },
    );
  });
});
