/**
 * Every method of every contract, over the port where it is served, against input that is wrong in every way its contract
 * knows, and in those that no contract knows. What is asked is made of the descriptors: a method that is added is asked too.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create, type Message, toBinary } from "@bufbuild/protobuf";
import { LinkHelloSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { HealthService } from "@rspp/rpc/well-known";
import { validate } from "@rspp/wire/validate";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Breach, breachesOf, choicesOf, least, ofSession, planted } from "./bad-input-messages.ts";
import { type Answer, framed, onSocket } from "./bad-input-raw.ts";
import { type BadInputRig, badInputRig, type Served } from "./bad-input-rig.ts";
import { tenantId } from "./runtime-service-rig.ts";

const code = { invalid: 3, notFound: 5, exhausted: 8, precondition: 9, unimplemented: 12 };
/** Never an answer to input: unknown, internal, data loss. */
const ourFault: readonly number[] = [2, 13, 15];
const limit = (one: Served): number => (one.stream ? 1_048_576 : 4_194_304);
const links = (one: Served): boolean => one.method.parent.name === "LinkService";
const bidi = (one: Served): boolean => one.method.methodKind === "bidi_streaming";
/** Carries many invocations, each refused alone, and is silent between them by design: `remote-shared.test.ts` breaks those. */
const shared = (one: Served): boolean => one.method.name === "InvokeMany";
const bytesOf = (one: Served, message: Message): Uint8Array => toBinary(one.method.input, message);

let rig: BadInputRig;
let before: Record<string, string[]>;
/** What came back by other ways than gRPC. */
const heard: string[] = [];
let resources = 0;
let heapBytes = 0;

setFlagsFromString("--expose-gc");
const collect: unknown = runInNewContext("gc");

/** What is still held once all that could go has gone. */
function heldBytes(): number {
  if (typeof collect === "function") collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

beforeAll(async () => {
  rig = await badInputRig();
  before = await rig.dump();
  resources = process.getActiveResourcesInfo().length;
  heapBytes = heldBytes();
}, 120_000);
afterAll(async () => {
  await rig.close();
});

/** What is wrong with a refusal; nothing when it is as it should be. */
function faults(answer: Answer, wanted: { codes: readonly number[]; path?: string }): string[] {
  const { code: got, detail, reason, fields, ended } = answer;
  const out: string[] = [];
  if (!wanted.codes.includes(got)) out.push(`code ${got}, not ${wanted.codes.join(" or ")} (${ended})`);
  if (detail === null) return [...out, "no detail"];
  if (detail.remedy === "" || detail.domain === "") out.push("no remedy, or nobody who gives it");
  if (detail.violations.some(({ message }) => message === "")) out.push("not said what is wrong with a field");
  if (wanted.path !== undefined && !fields.includes(wanted.path)) out.push(`names ${fields.join(", ") || reason}`);
  return out;
}

/** A defect shown in an answer that may be taken or refused. */
function defects(answer: Answer): string[] {
  if (ourFault.includes(answer.code)) return [`code ${answer.code}: ${answer.reason}`];
  return answer.code > 0 ? faults(answer, { codes: [answer.code] }) : [];
}

async function eachServed(ask: (one: Served) => Promise<readonly string[]>): Promise<string[]> {
  const all: string[] = [];
  for (const one of rig.served.filter((one) => !shared(one))) {
    const where = `${one.path}${one.stream ? " (streams)" : ""}`;
    all.push(...(await ask(one)).map((what) => `${where}: ${what}`));
  }
  return all;
}

test("NF-013 every contract is served somewhere, and refused where it is not with what to do", async () => {
  const all = rig.contracts.flatMap(({ methods }) => methods.map(({ parent, name }) => `/${parent.typeName}/${name}`));
  const served = new Set(rig.served.map(({ path }) => path));
  // Nodes are served by who writes them (remote-nodes.test.ts), rooms by an adapter beside a LiveKit server (test/livekit); a
  // method that is added is served, or stands here.
  expect(all.filter((path) => !served.has(path)).sort()).toEqual([
    "/rspp.node.v1.NodeService/Describe",
    "/rspp.node.v1.NodeService/Run",
    "/rspp.transport.v1.LiveKitService/JoinRoom",
  ]);
  const wrong: string[] = [];
  for (const path of [...all, "/rspp.registry.v1.RegistryService/Nothing", "/nothing", "/"]) {
    for (const port of rig.ports) {
      if (rig.served.some((one) => one.path === path && one.port === port)) continue;
      const answer = await port.call(path, framed(new Uint8Array()));
      if (answer.code !== code.unimplemented) wrong.push(`${path} at ${port.port}: code ${answer.code}`);
      // grpc-js answers by itself for paths that nothing was registered for.
      if (answer.detail !== null && answer.detail.remedy === "") wrong.push(`${path} at ${port.port}: no remedy`);
    }
  }
  expect(wrong).toEqual([]);
});

test("NF-013 an empty message is taken where nothing is required, and else refused with each field named", async () => {
  const wrong = await eachServed(async (one) => {
    const answer = await one.port.call(one.path, framed(new Uint8Array()), { timeoutMs: 1_500 });
    if (links(one)) return faults(answer, { codes: [code.precondition] });
    const local = validate(one.method.input, create(one.method.input));
    if (local.ok) return defects(answer);
    return local.error.violations.flatMap(({ field }) => faults(answer, { codes: [code.invalid], path: field }));
  });
  expect(wrong).toEqual([]);
});

test("NF-013 each rule of each field broken alone is refused, with exactly that field named and what to do", async () => {
  let asked = 0;
  const wrong = await eachServed(async (one) => {
    const { found, unreached } = breachesOf(one.method.input);
    const problems = unreached.map((path) => `not reached: ${path}`);
    // Frames of a link come after its hello: link-refusals.test.ts and link-fuzz.test.ts.
    for (const breach of found.filter(({ path }) => !links(one) || /^hello\b/.test(path))) {
      asked += 1;
      problems.push(...(await refused(one, breach)).map((what) => `${breach.path} (${breach.what}): ${what}`));
    }
    return problems;
  });
  expect(wrong).toEqual([]);
  expect(asked).toBeGreaterThan(700);
}, 240_000);

async function refused(one: Served, { path, message }: Breach): Promise<string[]> {
  const bytes = bytesOf(one, message);
  const answer = await one.port.call(one.path, framed(bytes), { timeoutMs: 4_000 });
  return bytes.length > limit(one)
    ? faults(answer, { codes: [code.exhausted] })
    : faults(answer, { codes: [code.invalid], path });
}

test("NF-013 bytes that are no message are refused as malformed, whatever they are", async () => {
  const wrong = await eachServed(async (one) => {
    const whole = bytesOf(one, least(one.method.input).message);
    const torn = whole.length > 1 ? whole.subarray(0, -1) : new Uint8Array([0x0a, 0x05, 0x61]);
    const problems: string[] = [];
    for (const bytes of [new Uint8Array([255, 255, 255]), torn, new Uint8Array([0xff, 0x01])]) {
      const answer = await one.port.call(one.path, framed(bytes), { timeoutMs: 1_500 });
      problems.push(...faults(answer, { codes: [code.invalid] }));
      if (answer.reason !== "MALFORMED_FRAME")
        problems.push(`${answer.reason} for ${Buffer.from(bytes).toString("hex")}`);
    }
    const first = one.method.input.fields[0]?.number ?? 1;
    const otherWire = [0, 1, 2, 5].map((wire) => new Uint8Array([(first << 3) | wire, 1, 1, 0, 0, 0, 0, 0, 0]));
    for (const bytes of [...otherWire, ...randomly(12)]) {
      problems.push(...defects(await one.port.call(one.path, framed(bytes), { timeoutMs: 400 })));
    }
    return problems;
  });
  expect(wrong).toEqual([]);
}, 120_000);

/** The same in every run. */
function randomly(count: number): Uint8Array[] {
  let state = 20_261_122;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  };
  return Array.from({ length: count }, () => Uint8Array.from({ length: 1 + (next() % 60) }, next));
}

test("NF-013 a message past its size, and one that only says so, is resource_exhausted with the bound told", async () => {
  const wrong = await eachServed(async (one) => {
    const said = await one.port.call(one.path, framed(new Uint8Array(9), limit(one) + 1), { end: false });
    const huge = await one.port.call(one.path, framed(new Uint8Array(9), 0xfffffff0), { end: false });
    return [said, huge].flatMap((answer) => {
      const problems = answer.code === code.exhausted ? [] : [`code ${answer.code} (${answer.ended})`];
      if (!`${answer.said} ${JSON.stringify(answer.detail?.metadata)}`.includes(String(limit(one)))) {
        problems.push(`the bound is not told: ${answer.said}`);
      }
      return problems;
    });
  });
  expect(wrong).toEqual([]);
  for (const port of rig.ports) {
    const one = rig.served.find((any) => any.port === port);
    if (one === undefined) continue;
    const whole = await port.call(one.path, framed(new Uint8Array(limit(one) + 1)));
    // The rest of its bytes may find the stream closed.
    expect([code.exhausted, -1]).toContain(whole.code);
  }
});

test("NF-013 JSON that does not fit is refused as what the caller sent, never as a defect", async () => {
  const bodies = [
    "[]",
    "5",
    '{"session":5}',
    '{"session":{"tenantId":[]}}',
    '{"tenantId":{}}',
    "{",
    "\u0000",
    '"\ud800"',
  ];
  const wrong = await eachServed(async (one) => {
    if (one.stream || one.method.methodKind !== "unary") return [];
    const problems: string[] = [];
    for (const body of [...bodies, `{"${planted[3]}":"${planted[2]}"}`]) {
      const headers = { "content-type": "application/json" };
      const url = `http://127.0.0.1:${one.port.port}${one.path}`;
      const response = await fetch(url, { method: "POST", headers, body });
      const text = await response.text();
      heard.push(text);
      if (response.status >= 500) problems.push(`${response.status} for ${body}: ${text}`);
      if (response.status !== 200 && !text.includes('"details":[{')) problems.push(`no detail for ${body}: ${text}`);
    }
    return problems;
  });
  expect(wrong).toEqual([]);
});

test("NF-013 what is no call at all ends clearly, and the ports serve on", async () => {
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const settings = "\u0000\u0000\u0000\u0004\u0000\u0000\u0000\u0000\u0000";
  const latin = (text: string): Buffer => Buffer.from(text, "latin1");
  for (const port of rig.ports) {
    const said = [
      latin(`${preface}garbage that is no frame, and goes on for a while`),
      latin(`${preface}${settings}\u00ff\u00ff\u00ff\u0001\u0000\u0000\u0000\u0000\u0001`),
      latin("GET / HTTP/9.9\r\n\r\n"),
      latin("\u0016\u0003\u0001\u0002\u0000\u0001\u0000"),
      Buffer.from(randomly(40).flatMap((bytes) => [...bytes])),
    ];
    const answers = await Promise.all([
      ...said.map((bytes) => onSocket(port.port, bytes)),
      onSocket(port.port, latin(preface.slice(0, 12)), { hangUp: true }),
      onSocket(port.port, latin(`${preface}${settings}\u0000\u0000\u0040\u0001`), { hangUp: true }),
    ]);
    heard.push(...answers.map(({ text }) => text));
  }
  const wrong = await eachServed(async (one) => {
    const typed = await one.port.call(one.path, framed(new Uint8Array()), {
      headers: { "content-type": "text/plain" },
    });
    const half = await one.port.call(one.path, framed(new Uint8Array(3), 50), { timeoutMs: 1_500 });
    const packed = await one.port.call(one.path, Buffer.from([1, 0, 0, 0, 2, 31, 139]), { timeoutMs: 1_500 });
    const flagged = await one.port.call(one.path, Buffer.from([255, 0, 0, 0, 0]), { timeoutMs: 1_500 });
    return [
      ...(typed.http === 415 ? [] : [`wrong content type: HTTP ${typed.http}`]),
      ...[half, packed, flagged].flatMap((answer, at) => {
        const ended = answer.ended === "timeout" ? [`case ${at}: no end`] : [];
        return [
          ...ended,
          ...(answer.code > 0 || (one.stream && at === 2) ? [] : [`case ${at}: code ${answer.code} (${answer.ended})`]),
        ];
      }),
    ];
  });
  expect(wrong).toEqual([]);
  await healthy();
}, 120_000);

async function healthy(): Promise<void> {
  for (const port of rig.ports) {
    const answer = await port.call(`/${HealthService.typeName}/Check`, framed(new Uint8Array()));
    expect([port.port, ...(answer.messages[0] ?? [])]).toEqual([port.port, 8, 1]);
  }
}

test("NF-013 streams: the wrong first message, and a second open, are out of order", async () => {
  let asked = 0;
  const wrong = await eachServed(async (one) => {
    const choices = bidi(one) ? choicesOf(one.method.input) : [];
    const open = choices.find(({ name }) => name === "open");
    if (open === undefined) return [];
    const opening = framed(bytesOf(one, open.message));
    const problems: string[] = [];
    for (const { name, message } of choices) {
      const bytes = framed(bytesOf(one, message));
      const answer = await one.port.call(one.path, name === "open" ? [opening, bytes] : bytes, {
        enough: 0,
        end: false,
      });
      asked += 1;
      problems.push(...faults(answer, { codes: [code.precondition] }).map((what) => `${name}: ${what}`));
      if (answer.reason !== "OUT_OF_ORDER") problems.push(`${name}: ${answer.reason}`);
    }
    return problems;
  });
  expect(wrong).toEqual([]);
  expect(asked).toBeGreaterThan(6);
});

test("NF-013 streams: a caller who opens one and says nothing is told so in time", async () => {
  const silent = rig.served
    .filter((one) => bidi(one) && !shared(one))
    .map(async (one) => {
      const answer = await one.port.call(one.path, [], { end: false, timeoutMs: 15_000 });
      return faults(answer, { codes: [code.precondition] }).map((what) => `${one.path}: ${what}`);
    });
  expect((await Promise.all(silent)).flat()).toEqual([]);
}, 30_000);

test("NF-013 links: a hello with frames that break any rule ends in no defect, and the port serves on", async () => {
  const hello = { protocolVersion: 1, incarnation: 1n, peerId: "raw", build: "" };
  let sent = 0;
  const wrong = await eachServed(async (one) => {
    if (!links(one)) return [];
    const broken = breachesOf(one.method.input).found.filter(({ path }) => !/^hello\b/.test(path));
    const problems: string[] = [];
    for (let from = 0; from < broken.length; from += 32) {
      const part = broken.slice(from, from + 32).map(async ({ path, message }) => {
        sent += 1;
        Object.assign(message, { hello: create(LinkHelloSchema, { ...hello, linkId: `raw-${sent}` }) });
        const answer = await one.port.call(one.path, framed(bytesOf(one, message)), { enough: 0, timeoutMs: 1_000 });
        return defects(answer).map((what) => `${path}: ${what}`);
      });
      problems.push(...(await Promise.all(part)).flat());
    }
    return problems;
  });
  expect(wrong).toEqual([]);
  expect(sent).toBeGreaterThan(200);
  await healthy();
}, 60_000);

test("NF-013 streams: readers who read nothing hold nobody up, and cost nothing once they are gone", async () => {
  const { admitted } = rig.call;
  const session = { tenantId, sessionId: admitted.session.config.sessionId };
  const streaming = rig.served.filter(({ method }) => method.methodKind === "server_streaming");
  const open = streaming.flatMap((one) =>
    Array.from({ length: 4 }, () => {
      const message = ofSession(one.method.input, session) ?? least(one.method.input).message;
      if ("follow" in message) message.follow = true;
      return one.port.call(one.path, framed(bytesOf(one, message)), {
        end: !bidi(one),
        unread: true,
        timeoutMs: 1_000,
      });
    }),
  );
  await healthy();
  const held = await Promise.all(open);
  expect(held.filter(({ ended }) => ended !== "timeout").map(({ said, path }) => `${path}: ${said}`)).toEqual([]);
  await healthy();
}, 30_000);

test("F-101 NF-013 another tenant's session is answered as one that never was, by every call that names a session", async () => {
  const { session } = rig.call.admitted;
  const known = session.config.sessionId;
  let asked = 0;
  const wrong = await eachServed(async (one) => {
    const told = async (sessionId: string): Promise<string | null> => {
      const message = ofSession(one.method.input, { tenantId: "other", sessionId });
      if (message === null || links(one)) return null;
      const opening = choicesOf(one.method.input).filter(({ name }) => name === "open");
      const first = bidi(one) && !("open" in message) ? opening.map((open) => framed(bytesOf(one, open.message))) : [];
      const said = [...first, framed(bytesOf(one, message))];
      const answer = await one.port.call(one.path, said, { enough: 0, timeoutMs: 500 });
      asked += 1;
      if (answer.messages.some((bytes) => Buffer.from(bytes).includes(tenantId))) return "it tells of the tenant";
      const { code: got, detail, reason, messages } = answer;
      const facts = JSON.stringify([
        got,
        reason,
        detail?.metadata,
        detail?.violations,
        detail?.remedy,
        messages.length,
      ]);
      // The floor of a session that never was is the newest epoch of all.
      return facts.replaceAll(sessionId, "…").replace(/"floor":"\d+"/, "a floor");
    };
    const [foreign, nobody] = [await told(known), await told("nobody")];
    return foreign === nobody ? [] : [`${foreign} for another's, ${nobody} for nobody's`];
  });
  expect(wrong).toEqual([]);
  expect(asked).toBeGreaterThan(40);
}, 120_000);

test("F-101 lists of one tenant show nothing of another", async () => {
  const wrong = await eachServed(async (one) => {
    const message = least(one.method.input).message as Message & { tenantId?: string };
    if (!one.method.name.startsWith("List") || message.tenantId === undefined) return [];
    const listed = async (tenant: string): Promise<Uint8Array[]> => {
      message.tenantId = tenant;
      const { messages } = await one.port.call(one.path, framed(bytesOf(one, message)));
      return messages.map((bytes) => new Uint8Array(bytes));
    };
    const own = Buffer.concat(await listed(tenantId)).length;
    const [foreign, nobody] = [await listed("foreign"), await listed("nobody")];
    // Nobody was given an access token here, and no session has ended.
    if (own === 0 && !["ListTokens", "ListSessionSummaries"].includes(one.method.name))
      return ["the tenant itself sees nothing"];
    // What is in force of the platform's own documents, tenant `*`, is in force for all.
    const shown = Buffer.concat(foreign);
    const inherited = one.method.name === "ListActiveArtifacts" && !shown.includes(tenantId);
    return shown.equals(Buffer.concat(nobody)) && (inherited || shown.length === 0) ? [] : ["it shows"];
  });
  expect(wrong).toEqual([]);
});

test("NF-011 a secret in a header of any call is in no answer", async () => {
  const headers = { authorization: `Bearer ${planted[3]}`, "x-api-key": planted[3], traceparent: planted[3] };
  const wrong = await eachServed(async (one) => {
    const bytes = framed(bytesOf(one, least(one.method.input).message));
    return defects(await one.port.call(one.path, bytes, { headers, timeoutMs: 300 }));
  });
  expect(wrong).toEqual([]);
});

test("NF-011 no answer holds a stack, a path, SQL, an address with a password, or a planted value; no log line does", async () => {
  const answers = [...heard, ...rig.ports.flatMap((port) => port.heard)].join("\n");
  const leaks = [
    /\bat [\w.<>]+ \(?(?:file|node|\/)/,
    /node_modules|node:internal|\.ts:\d+|\.js:\d+/,
    /\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM) [a-z"*]|rspp\.(?:leases|sessions|session_state)/,
    /postgres(?:ql)?:\/\/|:\/\/[^/\s]*:[^/\s]*@/,
    new RegExp(planted[2]),
    new RegExp(planted[3]),
  ];
  for (const leak of leaks) expect(leak.exec(answers)?.[0] ?? null).toBe(null);
  for (const place of [rig.dataDir, process.cwd(), process.env.HOME ?? process.cwd()])
    expect(answers.includes(place)).toBe(false);
  const lines = rig.log.filter((line) => line.includes(planted[2]) || line.includes(planted[3]));
  expect(lines.slice(0, 3)).toEqual([]);
  expect(rig.log.length).toBeGreaterThan(1_000);
});

test("NF-013 after all of it nothing is half-written, all is healthy, and what was held is given back", async () => {
  await healthy();
  for (const { health, service } of rig.running) expect([service, health.ready]).toEqual([service, true]);
  const failures = rig.log.filter((line) => line.includes('"level":"error"'));
  expect(failures.slice(0, 3)).toEqual([]);
  const after = await rig.dump();
  // The head of the audit log moves with each entry, the newest snapshot with what it is made of.
  const moving = new Set(["audit_head", "snapshots"]);
  for (const [table, rows] of Object.entries(before).filter(([table]) => !moving.has(table))) {
    expect([table, rows.filter((row) => !after[table]?.includes(row))]).toEqual([table, []]);
  }
  const added = Object.entries(after).flatMap(([table, rows]) => {
    return rows.filter((row) => !before[table]?.includes(row)).map((row) => `${table} ${row}`);
  });
  // What another tenant wrote was his own, and whole; `s` is what a least message is made of. The audit log says who did it.
  const own = /\["tenant_id","(?:other|s)"\]|"instance_id","s"/;
  // Calls that need nothing were made: a key was rotated, and all that was done is in the log.
  const done = new Set([...moving, "audit", "signing_keys"]);
  expect(added.filter((row) => !own.test(row) && !done.has(row.split(" ", 1)[0] ?? ""))).toEqual([]);
  for (const port of rig.ports) port.close();
  const end = performance.now() + 5_000;
  while (process.getActiveResourcesInfo().length > resources + 16 && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(process.getActiveResourcesInfo().length).toBeLessThanOrEqual(resources + 16);
  heard.length = 0;
  expect(heldBytes() - heapBytes).toBeLessThan(96 * 1_048_576);
});
