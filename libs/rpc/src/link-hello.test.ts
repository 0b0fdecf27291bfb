import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { expect, test } from "vitest";
import { LINK_PROTOCOL_VERSION, makeHello, readHello } from "./link-hello.ts";

const init = { linkId: "l-1", incarnation: 1, peerId: "adapter-1", build: "b" };
const helloOf = (protocolVersion: number) => Object.assign(makeHello(init), { protocolVersion });
const versions = [1, 2, 3, 4];

test.each(versions.flatMap((mine) => versions.map((theirs) => [mine, theirs] as const)))(
  "NF-032 a link's end of protocol version %i meets a hello of version %i",
  (mine, theirs) => {
    if (Math.abs(mine - theirs) <= 1) {
      return expect(readHello(helloOf(theirs), "link", mine)).toEqual({ ...init, version: Math.min(mine, theirs) });
    }
    let refusal: unknown;
    try {
      readHello(helloOf(theirs), "link", mine);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({
      reason: ErrorReason.UNSUPPORTED_SCHEMA_VERSION,
      detail: { metadata: { found: String(theirs), min: String(Math.max(1, mine - 1)), max: String(mine + 1) } },
    });
  },
);

test("a hello says the newest version of its build", () => {
  expect(makeHello(init).protocolVersion).toBe(LINK_PROTOCOL_VERSION);
});
