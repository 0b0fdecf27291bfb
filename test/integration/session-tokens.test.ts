/** F-101, F-088: what a caller may ask a runtime with the token of his session, where services show one of their own. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  assistant,
  type Call,
  call,
  type PlatformRig,
  platform,
  type RuntimeRig,
  runtimeOf,
  tenantId,
  ticketOf,
} from "./runtime-service-rig.ts";

let rig: PlatformRig;
let runtime: RuntimeRig;
let mine: Call;
let other: Call;
beforeAll(async () => {
  rig = await platform();
  runtime = await runtimeOf(rig);
  await rig.publish(assistant("assistant"));
  mine = await call(runtime, await ticketOf(rig, runtime, "assistant"));
  other = await call(runtime, await ticketOf(rig, runtime, "assistant"));
});
afterAll(async () => {
  for (const { admitted } of [mine, other]) admitted.session.operator("end");
  await runtime.close();
  await rig.close();
});

const as = (token: string) =>
  connectRpc({ baseUrl: runtime.running.ready.url, domain: "runtime", attemptsMax: 1, token: () => token }).client(
    SessionService,
  );
const told = (asked: Promise<unknown>) =>
  asked.then(
    () => "answered",
    (failure: unknown) => {
      const { reason, metadata } = rpcErrorOf(failure, "none").detail;
      return [ErrorReason[reason], metadata.problem];
    },
  );

test("F-101 the token of a session shows its bearer that session alone, in lists too", async () => {
  const sessions = as(mine.ticket.token);
  const { sessionId } = mine.ticket;
  const { info } = await sessions.getSession({ session: { tenantId, sessionId } });
  expect(info?.session?.sessionId).toBe(sessionId);
  const listed = await sessions.listSessions({ tenantId });
  expect(listed.sessions.map(({ session }) => session?.sessionId)).toEqual([sessionId]);
  expect(listed.nextPageToken).toBe("");
  const foreign = { tenantId, sessionId: other.ticket.sessionId };
  expect(await told(sessions.getSession({ session: foreign }))).toEqual(["TOKEN_INVALID", "other_session"]);
  // Refused alike whether there is such a session or not.
  const nobody = { tenantId, sessionId: "nobody" };
  expect(await told(sessions.endSession({ session: nobody, reason: 1 }))).toEqual(["TOKEN_INVALID", "other_session"]);
  expect(await told(sessions.endSession({ session: foreign, reason: 1 }))).toEqual(["TOKEN_INVALID", "other_session"]);
  expect(await told(sessions.listSessions({ tenantId: "other" }))).toEqual(["TOKEN_INVALID", "other_tenant"]);
  expect(other.admitted.session.view().phase).not.toBe("ended");
});

test("F-101 NF-013 an altered token, and one of another platform, are refused and not repeated", async () => {
  const [head = "", body = "", signature = ""] = mine.ticket.token.split(".");
  const claims = JSON.parse(Buffer.from(body, "base64url").toString());
  const richer = Buffer.from(JSON.stringify({ ...claims, sid: other.ticket.sessionId })).toString("base64url");
  const unknownKey = Buffer.from(JSON.stringify({ alg: "EdDSA", typ: "rspp-session+jwt", kid: "k9" })).toString(
    "base64url",
  );
  const unsigned = Buffer.from(JSON.stringify({ alg: "none", typ: "rspp-session+jwt" })).toString("base64url");
  const session = { tenantId, sessionId: other.ticket.sessionId };
  for (const [token, problem] of [
    [`${head}.${richer}.${signature}`, "signature"],
    [`${unknownKey}.${body}.${signature}`, "key_unknown"],
    [`${unsigned}.${richer}.`, "form"],
  ] as const) {
    expect(await told(as(token).getSession({ session }))).toEqual(["TOKEN_INVALID", problem]);
    expect(runtime.log.filter((line) => line.includes(token) || line.includes(richer))).toEqual([]);
  }
});
