import { createHmac } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { silentLog } from "@rspp/rpc/log";
import type { DueWebhook, SessionEnds, WebhookOutcome } from "@rspp/store/session-ends";
import { describe, expect, test } from "vitest";
import { limits } from "../limits.ts";
import { isPublicAddress, onlyPublic, refusalOf, webhookAccess } from "./access.ts";
import { type PostWebhook, postWebhook } from "./post.ts";
import { WebhookSender } from "./sender.ts";
import { keysOf, signedHeaders } from "./signature.ts";

const key = Buffer.alloc(32, 7);
const secret = `whsec_${key.toString("base64")}`;

function due(part: Partial<DueWebhook> = {}): DueWebhook {
  const session = { tenantId: "acme", sessionId: "s" };
  const common = { event: "session.ended", url: "https://hooks.example/x", body: '{"a":1}', createdWallMs: 0 };
  return { id: "msg_1", session, secret: "env:HOOK", secretTenant: "acme", attempts: 1, ...common, ...part };
}

/** An outbox of one webhook, calls that answer as they are told, time that stands. */
function bench(post: PostWebhook, init: { origins?: string[]; secrets?: string[]; env?: Record<string, string> } = {}) {
  const { origins = [], secrets = ["acme=env:HOOK"], env = { HOOK: secret } } = init;
  const queue: DueWebhook[] = [];
  const told: (WebhookOutcome & { id: string })[] = [];
  const excepted: (readonly string[])[] = [];
  const ends: Pick<SessionEnds, "take" | "settle"> = {
    take: async ({ except }) => {
      excepted.push(except);
      const at = queue.findIndex(({ session }) => !except.includes(session.tenantId));
      return at === -1 ? undefined : queue.splice(at, 1)[0];
    },
    settle: async ({ id }, outcome) => void told.push({ id, ...outcome }),
  };
  const sender = new WebhookSender({
    ends: ends as SessionEnds,
    access: webhookAccess({ origins, secrets }, env),
    post,
    log: silentLog,
    wallMs: () => 1_700_000_000_500,
    random: () => 1,
    actor: "replay",
  });
  const run = async (...webhooks: DueWebhook[]) => {
    queue.push(...webhooks);
    await sender.step();
    await sender.idle();
    return told.splice(0);
  };
  return { run, queue, told, sender, env, excepted };
}

describe("signatures", () => {
  test("X-06 a webhook is signed in the form of Standard Webhooks, over id, timestamp and body", () => {
    // The example of the specification's own libraries.
    const keys = keysOf("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") ?? [];
    const message = { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", body: '{"test": 2432232314}' };
    expect(signedHeaders(message, keys, 1_614_265_330_999)).toEqual({
      "webhook-id": message.id,
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
    const other = signedHeaders({ ...message, body: '{"test": 2432232315}' }, keys, 1_614_265_330_999);
    expect(other["webhook-signature"]).not.toContain("g0hM9SsE");
  });

  test("X-06 while a secret is replaced both sign; what is no secret of that form signs nothing", () => {
    const two = keysOf(`${secret} whsec_${Buffer.alloc(24, 1).toString("base64")}`) ?? [];
    expect(signedHeaders({ id: "m", body: "" }, two, 0)["webhook-signature"].split(" ")).toHaveLength(2);
    for (const text of [
      "",
      "whsec_",
      "whsec_c2hvcnQ=",
      "not base64 at all!",
      `${secret} ${secret} ${secret} ${secret}`,
    ])
      expect(keysOf(text), text).toBeNull();
  });
});

describe("what may be called", () => {
  test("X-06 private, loopback, link-local and mapped addresses are none of the public internet", () => {
    const hidden = ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"];
    const hidden6 = [
      "::1",
      "::",
      "fe80::1",
      "fc00::1",
      "::ffff:10.0.0.1",
      "64:ff9b::a00:1",
      "2002:a00:1::",
      "224.0.0.1",
    ];
    for (const address of [...hidden, ...hidden6, "example.com", ""])
      expect(isPublicAddress(address), address).toBe(false);
    for (const address of ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1"]) {
      expect(isPublicAddress(address), address).toBe(true);
    }
    const found = (...addresses: string[]) => addresses.map((address) => ({ address, family: 4 }));
    expect(() => onlyPublic(found("8.8.8.8", "10.0.0.1"))).toThrow("private address");
    expect(() => onlyPublic([])).toThrow("private address");
  });

  test("X-06 an address without https, or a private one, is called where the operator says so and nowhere else", () => {
    const access = webhookAccess({ origins: ["http://127.0.0.1:9000"], secrets: [] }, {});
    const refusal = (text: string) => refusalOf(new URL(text), access);
    expect(refusal("http://127.0.0.1:9000/any")).toBe("");
    expect(refusal("http://127.0.0.1:9001/any")).toBe("no https");
    expect(refusal("https://10.0.0.1/")).toBe("private address");
    expect(refusal("https://[::1]/")).toBe("private address");
    expect(refusal("https://0x7f000001/")).toBe("private address");
    expect(refusal("https://hooks.example/")).toBe("");
  });

  test("X-06 a name that leads to a private address is not connected to", async () => {
    const url = new URL("https://localhost:1/");
    const answer = await postWebhook({ url, headers: {}, body: "", deadlineMs: 5_000, anyAddress: false });
    expect(answer).toEqual({ status: 0, problem: "private address" });
  });
});

describe("calls", () => {
  test("X-06 a real endpoint gets id, timestamp and a signature it can check; redirects are not followed", async () => {
    const got: { headers: IncomingHttpHeaders; body: string }[] = [];
    let status = 204;
    const server = createServer(async (request, response) => {
      let body = "";
      for await (const part of request) body += String(part);
      got.push({ headers: request.headers, body });
      response.writeHead(status, status === 302 ? { location: "/elsewhere" } : {}).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const at = bench(postWebhook, { origins: [origin] });
      expect(await at.run(due({ url: `${origin}/hook` }))).toMatchObject([{ delivered: true, outcome: "HTTP 204" }]);
      const [{ headers, body } = { headers: {}, body: "" }] = got;
      const signed = `${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${body}`;
      expect(headers["webhook-signature"]).toBe(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
      expect([headers["webhook-id"], headers["webhook-timestamp"], body]).toEqual(["msg_1", "1700000000", '{"a":1}']);
      status = 302;
      expect(await at.run(due({ url: `${origin}/hook` }))).toMatchObject([{ delivered: false, outcome: "HTTP 302" }]);
      expect(got).toHaveLength(2);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test("X-06 a call that fails is made again with the same id and body, later and later, and is dead in the end", async () => {
    const sent: { id: string | undefined; body: string }[] = [];
    const at = bench(async ({ headers, body }) => {
      sent.push({ id: headers["webhook-id"], body });
      return { status: 500, problem: "" };
    });
    const pauses: (number | null)[] = [];
    for (let attempts = 1; attempts <= limits.WEBHOOK_RETRY_MS.length + 1; attempts++) {
      const [outcome] = await at.run(due({ attempts }));
      pauses.push(outcome?.retryAtWallMs == null ? null : outcome.retryAtWallMs - 1_700_000_000_500);
    }
    expect(pauses).toEqual([...limits.WEBHOOK_RETRY_MS.map((ms) => Math.round(ms * 1.2)), null]);
    expect(new Set(sent.map((one) => JSON.stringify(one))).size).toBe(1);
  });

  test("X-06 410 ends it at once; a deadline, a refused connection and a missing secret are tried again", async () => {
    const with410 = bench(async () => ({ status: 410, problem: "" }));
    expect(await with410.run(due())).toMatchObject([{ delivered: false, retryAtWallMs: null, outcome: "HTTP 410" }]);
    const late = bench(async () => ({ status: 0, problem: "deadline" }));
    expect((await late.run(due()))[0]).toMatchObject({ outcome: "deadline", retryAtWallMs: expect.any(Number) });
    const unset = bench(async () => ({ status: 200, problem: "" }), { env: {} });
    expect((await unset.run(due()))[0]).toMatchObject({ outcome: "secret missing", delivered: false });
  });

  test("X-06 a secret that the operator gave another tenant signs nothing, and nothing is sent", async () => {
    let calls = 0;
    const at = bench(async () => ({ status: 200, problem: `${++calls}` }), { secrets: ["other=env:HOOK"] });
    expect(await at.run(due())).toMatchObject([{ delivered: false, outcome: expect.stringContaining("not allowed") }]);
    expect(calls).toBe(0);
  });

  test("X-06 a rotated secret signs the next attempt without a restart", async () => {
    const signatures: (string | undefined)[] = [];
    const at = bench(async ({ headers }) => {
      signatures.push(headers["webhook-signature"]);
      return { status: 500, problem: "" };
    });
    await at.run(due());
    at.env.HOOK = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;
    await at.run(due({ attempts: 2 }));
    expect(new Set(signatures).size).toBe(2);
  });

  test("X-06 an endpoint that hangs holds at most its tenant's share of the calls; the others' go on", async () => {
    const waiting: (() => void)[] = [];
    const at = bench(
      ({ headers }) =>
        new Promise((resolve) => {
          const answer = () => resolve({ status: 200, problem: "" });
          if (headers["webhook-id"]?.startsWith("slow")) waiting.push(answer);
          else answer();
        }),
      { secrets: ["*=env:HOOK"] },
    );
    const other = { session: { tenantId: "other", sessionId: "s" }, secretTenant: "other" };
    at.queue.push(...Array.from({ length: 10 }, (_, n) => due({ id: `slow${n}` })), due({ id: "quick", ...other }));
    expect(await at.sender.step()).toBe(limits.WEBHOOK_TENANT_CALLS_MAX + 1);
    while (at.told.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(at.told).toMatchObject([{ id: "quick", delivered: true }]);
    expect(waiting).toHaveLength(limits.WEBHOOK_TENANT_CALLS_MAX);
    for (const answer of waiting) answer();
    await at.sender.idle();
  });

  test("X-06 a call that the end of the process cut off is told to nobody: it is made again", async () => {
    let called: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      called = resolve;
    });
    const at = bench(({ signal }) => {
      called();
      return new Promise((resolve) => {
        signal?.addEventListener("abort", () => resolve({ status: 0, problem: "connection failed" }));
      });
    });
    at.queue.push(due());
    await at.sender.step();
    await begun;
    await at.sender.close();
    expect(at.told).toEqual([]);
  });
});
