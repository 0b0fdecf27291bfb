import { asMonoNs } from "@rspp/base/brand";
import { ReceiverKind } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { createGrantor, grantLease, transferLease } from "@rspp/protocol/lease-grantor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { receiversMax, storedReceivers, wireReceivers } from "./receivers.ts";

const kind = fc.integer({ min: 1, max: ReceiverKind.STATE_STORE });
const receiver = fc.record({ receiverId: fc.string({ minLength: 1, maxLength: 128 }), kind });

test("receivers come back with their kinds, in order, and the store finds each by its own name", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(receiver, { maxLength: receiversMax, selector: ({ receiverId }) => receiverId }),
      (list) => {
        fc.pre(!list.some(({ receiverId }) => receiverId.startsWith("#kinds=")));
        const stored = storedReceivers(list);
        expect(stored.ok && wireReceivers(stored.value)).toEqual(list);
        expect(stored.ok && list.every(({ receiverId }) => stored.value.includes(receiverId))).toBe(true);
      },
    ),
  );
});

test("a name that could be taken for the mark is refused by its field; leases without kinds are still read", () => {
  const marked = storedReceivers([{ receiverId: "#kinds=3", kind: ReceiverKind.ADAPTER }]);
  expect(marked).toMatchObject({ ok: false, error: { field: "receivers[0].receiver_id" } });
  expect(wireReceivers(["adapter"])).toEqual([{ receiverId: "adapter", kind: ReceiverKind.UNSPECIFIED }]);
});

test("F-156 receivers keep their kinds where the machine sorts their names, and where a takeover adds those of the grant before", () => {
  const before = [
    { receiverId: "websocket-1", kind: ReceiverKind.ADAPTER },
    { receiverId: "runtime-1/ingress", kind: ReceiverKind.RUNTIME_INGRESS },
  ];
  const after = [{ receiverId: "runtime-2/ingress", kind: ReceiverKind.RUNTIME_INGRESS }];
  const stored = [before, after].flatMap((one) => {
    const kept = storedReceivers(one);
    return kept.ok ? kept.value : [];
  });
  const known = wireReceivers([...stored].sort());
  expect(known).toEqual([...before, ...after].sort((a, b) => (a.receiverId < b.receiverId ? -1 : 1)));
  expect(wireReceivers(["a", "b", "#kinds=3,1"]).map(({ kind }) => kind)).toEqual([3, 1]);
  expect(storedReceivers([{ receiverId: "#kinds=x", kind: 1 }])).toMatchObject({ ok: false });
});

test("F-156 a session may live on thirty runtimes one after the other, each of which hears of every later floor; the next is refused", () => {
  const grantor = createGrantor(1);
  const now = asMonoNs(0);
  const receiversOf = (runtime: number): string[] => {
    const instance = `rspp-runtime-${runtime}`;
    const stored = storedReceivers([
      { receiverId: "adapter", kind: ReceiverKind.ADAPTER },
      { receiverId: `${instance}/ingress`, kind: ReceiverKind.RUNTIME_INGRESS },
      { receiverId: `${instance}/egress`, kind: ReceiverKind.RUNTIME_EGRESS },
      { receiverId: "timeline", kind: ReceiverKind.TIMELINE },
    ]);
    return stored.ok ? stored.value : [];
  };
  const sign = (): string => "";
  grantLease(grantor, { session: "s", holder: "0", receivers: receiversOf(0) }, sign, now);
  for (let runtime = 1; runtime <= 30; runtime++) {
    const moved = transferLease(
      grantor,
      { session: "s", toHolder: `${runtime}`, receivers: receiversOf(runtime) },
      sign,
      now,
    );
    if (!moved.ok) throw new Error(`move ${runtime}: ${moved.error}`);
    const told = wireReceivers(moved.value.signed.grant.receivers);
    expect(told).toHaveLength(2 + 2 * (runtime + 1));
    expect(told.length).toBeLessThanOrEqual(64);
    expect(told.filter(({ kind }) => kind === ReceiverKind.UNSPECIFIED)).toEqual([]);
  }
  const next = transferLease(grantor, { session: "s", toHolder: "31", receivers: receiversOf(31) }, sign, now);
  expect(next).toEqual({ ok: false, error: "too_many_receivers" });
});
