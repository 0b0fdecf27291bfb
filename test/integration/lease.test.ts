/** The lease service as a process: authority and session state over the wire (kernel.md §7, §8). */
import { createPublicKey, verify } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { GrantSchema, LeaseState, ReceiverKind, type SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { KeepAliveOutcome, LeaseService, type WatchLeasesResponse } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { tokenKeyToJwk } from "@rspp/rpc/tokens";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataDir, type RunningService, refusal, startService, stopService } from "./services-rig.ts";

let data: ReturnType<typeof dataDir>;
let service: RunningService;
let leases: Client<typeof LeaseService>;
let state: Client<typeof StateService>;

beforeAll(async () => {
  data = dataDir();
  service = await startService("lease", { args: ["--data", data.dir] });
  leases = service.rpc.client(LeaseService);
  state = service.rpc.client(StateService);
});
afterAll(async () => {
  await stopService(service);
  data.remove();
});

let count = 0;
const fresh = () => ({ tenantId: "acme", sessionId: `session-${count++}` });
const receivers = [
  { receiverId: "adapter-1", kind: ReceiverKind.ADAPTER },
  { receiverId: "gateway-1", kind: ReceiverKind.PROVIDER_GATEWAY },
];

async function granted(session: ReturnType<typeof fresh>, part: object = {}) {
  const key = { idempotencyKey: `key-${count++}` };
  const answer = await leases.grantLease({ session, holderId: "runtime-a", receivers, ...key, ...part });
  const { lease, signed } = answer;
  if (lease?.grant === undefined || signed === undefined) throw new Error("no lease");
  return { ...answer, lease, signed, epoch: lease.grant.epoch };
}

async function isSigned({ grant, keyId, signature }: SignedGrant): Promise<boolean> {
  const { keys } = await leases.listSigningKeys({});
  const key = keys.find((one) => one.keyId === keyId);
  if (key === undefined) return false;
  return verify(null, grant, createPublicKey({ key: tokenKeyToJwk(key) as never, format: "jwk" }), signature);
}

describe("a lease", () => {
  test("F-095 is granted signed, renewed, refused to a second holder, rotated and revoked", async () => {
    const session = fresh();
    const { epoch, signed, lease } = await granted(session);
    expect(lease.state).toBe(LeaseState.GRANTED);
    expect(await isSigned(signed)).toBe(true);
    expect(await isSigned({ ...signed, grant: signed.grant.with(10, (signed.grant[10] ?? 0) ^ 1) })).toBe(false);
    const told = fromBinary(GrantSchema, signed.grant);
    expect(told).toMatchObject({ session, epoch, holderId: "runtime-a", termMs: 60_000, receivers });
    const renewed = await leases.renewLease({ session, holderId: "runtime-a", epoch });
    expect(renewed.lease?.grant?.expiresWallMs).toBeGreaterThanOrEqual(told.expiresWallMs);
    const second = { session, holderId: "runtime-b", idempotencyKey: "second" };
    expect(await refusal(leases.grantLease(second))).toMatchObject({
      reason: ErrorReason.LEASE_HELD,
      domain: "lease",
      retryAfterMs: 1_000,
    });
    const rotation = { session, holderId: "runtime-a", epoch, lastSequence: 7n, reason: Reason.OPERATOR_CANCEL };
    const rotated = await leases.rotateLease({ ...rotation, idempotencyKey: "rotation" });
    const next = rotated.lease?.grant;
    expect(next).toMatchObject({ holderId: "runtime-a", lastSequence: 7n, receivers });
    expect((await leases.rotateLease({ ...rotation, idempotencyKey: "rotation" })).lease?.grant?.epoch).toBe(
      next?.epoch,
    );
    const stale = await refusal(leases.rotateLease({ ...rotation, idempotencyKey: "from an old epoch" }));
    expect(stale.reason).toBe(ErrorReason.AUTHORITY_EPOCH_MISMATCH);
    // Whose rotation was lost on the way keeps its lease alive, and is told the epoch and its proof (F-158).
    const kept = await leases.keepAlive({ holderId: "runtime-a", leases: [{ session, epoch }] });
    expect(kept.leases).toMatchObject([{ session, outcome: KeepAliveOutcome.RENEWED, epoch: next?.epoch }]);
    const shown = kept.leases[0]?.signed;
    expect(shown !== undefined && (await isSigned(shown))).toBe(true);
    const revocation = { session, epoch: next?.epoch ?? 0n, reason: rotation.reason };
    const revoked = await leases.revokeLease(revocation);
    expect(revoked.lease).toMatchObject({ state: LeaseState.REVOKED, grant: { holderId: "" } });
    const found = await leases.getLease({ session });
    expect(found.signed && (await isSigned(found.signed))).toBe(true);
    const after = revoked.lease?.grant?.epoch ?? 0n;
    const lost = await refusal(leases.renewLease({ session, holderId: "runtime-a", epoch: after }));
    expect(lost.reason).toBe(ErrorReason.LEASE_LOST);
    const taken = await granted(session, { holderId: "runtime-b" });
    expect(taken.oldExpiresWallMs).toBeGreaterThan(BigInt(Date.now()));
    const released = await leases.releaseLease({ session, holderId: "runtime-b", epoch: taken.epoch });
    expect(released.lease?.state).toBe(LeaseState.RELEASED);
    expect((await refusal(leases.getLease({ session: fresh() }))).reason).toBe(ErrorReason.SESSION_NOT_FOUND);
  });

  test("is watched: what stands, then the grant, the revocation and the end, each once and in order", async () => {
    const before = fresh();
    const filter = { receiverId: `watched-${count++}` };
    const named = { receivers: [{ receiverId: filter.receiverId, kind: ReceiverKind.ADAPTER }] };
    await granted(before, named);
    const stop = new AbortController();
    const watch = leases.watchLeases(filter, { signal: stop.signal })[Symbol.asyncIterator]();
    const next = async (): Promise<WatchLeasesResponse> => (await watch.next()).value;
    const told = ({ changes }: WatchLeasesResponse) =>
      changes.map(({ lease }) => [lease?.grant?.session?.sessionId, lease?.state]);
    const first = await next();
    expect([told(first), first.synced]).toEqual([[[before.sessionId, LeaseState.GRANTED]], true]);
    const session = fresh();
    const { epoch } = await granted(session, named);
    const seen = await next();
    expect(told(seen)).toEqual([[session.sessionId, LeaseState.GRANTED]]);
    expect(seen.changes[0]?.lease?.grant?.receivers).toMatchObject(named.receivers);
    await leases.revokeLease({ session, epoch, reason: Reason.OPERATOR_CANCEL });
    const revoked = await next();
    expect(told(revoked)).toEqual([[session.sessionId, LeaseState.REVOKED]]);
    expect(revoked.changes[0]?.signed).toBeDefined();
    stop.abort();
    await expect(watch.next()).rejects.toThrow("canceled");
  });

  test("floors are acknowledged by the receivers a lease names, and listed with the next grant", async () => {
    const session = fresh();
    const { epoch } = await granted(session);
    const floor = (receiverId: string) => ({ receiverId, session, floorEpoch: epoch });
    await leases.acknowledgeFloor({ floors: [floor("adapter-1"), floor("stranger")] });
    const { floors } = await leases.listFloors({ session });
    expect(floors.map(({ receiverId, floorEpoch }) => [receiverId, floorEpoch])).toEqual([["adapter-1", epoch]]);
    expect((await granted(session)).floors).toHaveLength(1);
  });
});

test("session state: a write on another version, or under an old epoch, changes nothing and says what stands", async () => {
  const session = fresh();
  expect((await state.getState({ session })).state).toMatchObject({ version: 0n, epoch: 0n, entries: [] });
  const { epoch } = await granted(session);
  const value = new TextEncoder().encode("hello");
  const put = [{ key: "conversation", value, schema: "conversation/1" }];
  const write = { session, epoch, expectedVersion: 0n, put, idempotencyKey: "first" };
  expect(await state.compareAndSetState(write)).toMatchObject({ version: 1n, repeatedRequest: false });
  expect(await state.compareAndSetState(write)).toMatchObject({ version: 1n, repeatedRequest: true });
  const conflict = await refusal(state.compareAndSetState({ ...write, idempotencyKey: "second" }));
  expect(conflict).toMatchObject({ reason: ErrorReason.VERSION_CONFLICT, metadata: { version: "1" } });
  const rotation = { session, holderId: "runtime-a", epoch, reason: Reason.OPERATOR_CANCEL, idempotencyKey: "r" };
  const rotated = await leases.rotateLease(rotation);
  const late = await refusal(state.compareAndSetState({ ...write, expectedVersion: 1n, idempotencyKey: "late" }));
  expect(late).toMatchObject({
    reason: ErrorReason.AUTHORITY_EPOCH_MISMATCH,
    metadata: { problem: "stale_epoch", floor: String(rotated.lease?.grant?.epoch) },
  });
  const read = await state.getState({ session, keys: ["conversation"] });
  expect(read.state).toMatchObject({ version: 1n, entries: [{ key: "conversation", schema: "conversation/1" }] });
  expect(Buffer.from(read.state?.entries[0]?.value ?? []).toString()).toBe("hello");
  await state.deleteState({ session, epoch: rotated.lease?.grant?.epoch ?? 0n });
  expect((await state.getState({ session })).state?.entries).toEqual([]);
});

const session = { tenantId: "acme", sessionId: "bad-input" };
const ask = { session, holderId: "a", idempotencyKey: "k" };
const many = Array.from({ length: 65 }, (_, i) => ({ receiverId: `r${i}`, kind: ReceiverKind.ADAPTER }));
const write = { session, epoch: 1n, idempotencyKey: "k" };
test.each<[string, string, () => Promise<unknown>]>([
  ["no session", "session", () => leases.grantLease({ holderId: "a", idempotencyKey: "k" })],
  ["no holder", "holder_id", () => leases.grantLease({ session, idempotencyKey: "k" })],
  ["a holder too long", "holder_id", () => leases.grantLease({ ...ask, holderId: "x".repeat(129) })],
  [
    "an unknown kind",
    "receivers[0].kind",
    () => leases.grantLease({ ...ask, receivers: [{ receiverId: "r", kind: 99 as ReceiverKind }] }),
  ],
  [
    "a receiver twice",
    "receivers[1].receiver_id",
    () => leases.grantLease({ ...ask, receivers: [many[0]!, many[0]!] }),
  ],
  ["too many receivers", "receivers", () => leases.grantLease({ ...ask, receivers: many })],
  ["epoch 0", "epoch", () => leases.renewLease({ session, holderId: "a" })],
  ["an epoch past exact numbers", "epoch", () => leases.renewLease({ session, holderId: "a", epoch: 2n ** 60n })],
  ["an unknown reason", "reason", () => leases.revokeLease({ session, epoch: 1n, reason: 9_999 as Reason })],
  [
    "a sequence past exact numbers",
    "last_sequence",
    () => leases.rotateLease({ ...ask, epoch: 1n, reason: Reason.OPERATOR_CANCEL, lastSequence: 2n ** 60n }),
  ],
  ["no floors", "floors", () => leases.acknowledgeFloor({})],
  [
    "a value too large",
    "put[0].value",
    () => state.compareAndSetState({ ...write, put: [{ key: "k", value: new Uint8Array(1_048_577) }] }),
  ],
  ["a key twice", "remove[0]", () => state.compareAndSetState({ ...write, put: [{ key: "k" }], remove: ["k"] })],
])("bad input: %s is refused by its field %s", async (_title, field, call) => {
  const { name, violations, remedy } = await refusal(call());
  expect([name, remedy === ""]).toEqual(["SCHEMA_VALIDATION_ERROR", false]);
  expect(violations.map((violation) => violation.field)).toContain(field);
});

test("kill -9 and restart: the lease stands and no epoch comes twice; SIGTERM ends a watch and then the service", async () => {
  const own = dataDir();
  const args = ["--data", own.dir];
  let running = await startService("lease", { args });
  try {
    const before = running.rpc.client(LeaseService);
    const keep = { session: fresh(), holderId: "a", idempotencyKey: "k" };
    const { lease } = await before.grantLease(keep);
    await stopService(running, "SIGKILL");
    running = await startService("lease", { args });
    const after = running.rpc.client(LeaseService);
    const found = await after.getLease({ session: keep.session });
    expect(found.lease?.grant).toEqual(lease?.grant);
    const refused = await refusal(after.grantLease({ ...keep, holderId: "b", idempotencyKey: "l" }));
    expect(refused.reason).toBe(ErrorReason.LEASE_HELD);
    const other = await after.grantLease({ ...keep, session: fresh(), idempotencyKey: "m" });
    expect(other.lease?.grant?.epoch).toBeGreaterThan(lease?.grant?.epoch ?? 0n);
    const watch = after.watchLeases({})[Symbol.asyncIterator]();
    expect((await watch.next()).value.synced).toBe(true);
    const [watched, ended] = await Promise.allSettled([watch.next(), stopService(running)]);
    expect(watched.status).toBe("rejected");
    expect(ended).toMatchObject({ value: { status: 0 } });
  } finally {
    await stopService(running);
    own.remove();
  }
});
