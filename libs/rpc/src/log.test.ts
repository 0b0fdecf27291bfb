import { create } from "@bufbuild/protobuf";
import { InvariantError } from "@rspp/base/invariant";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { SessionRouteSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { CreateRouteRequestSchema } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { LinkControlFrameSchema, LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { ProposeTurnRequestSchema } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { describe, expect, test } from "vitest";
import { rpcError } from "./errors.ts";
import { createLog, describeFailure, describeMessage } from "./log.ts";

describe("F-117 what a log may hold", () => {
  test("secret and personal fields are told by the word alone, wherever they stand", () => {
    const said = create(ProposeTurnRequestSchema, { session: { tenantId: "acme", sessionId: "s-1" }, say: "hunter2" });
    expect(describeMessage(ProposeTurnRequestSchema, said)).toEqual({
      session: { tenant_id: "acme", session_id: "s-1" },
      say: "[personal]",
    });
    const routed = create(SessionRouteSchema, { token: "hunter2", instanceId: "runtime-1" });
    expect(describeMessage(SessionRouteSchema, routed)).toEqual({ token: "[secret]", instance_id: "runtime-1" });
    const wanted = create(CreateRouteRequestSchema, { variables: { name: "hunter2" } });
    expect(describeMessage(CreateRouteRequestSchema, wanted)).toEqual({ variables: "[personal]" });
    const open = create(LinkControlFrameSchema, {
      frame: {
        case: "positioned",
        value: { sessionRef: 1, payload: { case: "open", value: { token: new TextEncoder().encode("hunter2") } } },
      },
    });
    expect(JSON.stringify(describeMessage(LinkControlFrameSchema, open))).toContain('"token":"[secret]"');
    const event = create(LinkEventSchema, { sessionRef: 1, audio: new Uint8Array(640) });
    expect(describeMessage(LinkEventSchema, event)).toEqual({ session_ref: 1, audio: "[personal]" });
  });

  test("a failure is told by kind and place; its text only where that is made of constants", () => {
    const failure = Object.assign(new Error("password hunter2 is wrong"), { code: "28P01" });
    const said = describeFailure(failure);
    expect(said).toMatchObject({ cause: "Error", cause_code: "28P01" });
    expect(JSON.stringify(said)).not.toContain("hunter2");
    expect(describeFailure(new InvariantError("a rule", "hunter2"))).toMatchObject({ cause_text: "a rule" });
    expect(JSON.stringify(describeFailure(new InvariantError("a rule", "hunter2")))).not.toContain("hunter2");
    const refused = rpcError(ErrorReason.CONFIG_INVALID, { domain: "lease", cause: failure });
    expect(describeFailure(refused)).toMatchObject({ domain: "lease", cause: "Error" });
    expect(JSON.stringify(describeFailure("hunter2"))).not.toContain("hunter2");
  });

  test("a line is JSON with the service's name, its level and a static message", () => {
    const lines: string[] = [];
    const log = createLog({
      service: "registry",
      level: "info",
      destination: { write: (line) => void lines.push(line) },
    });
    log.info({ rpc: "a/b" }, "rpc refused");
    log.debug({}, "not printed");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: "info", service: "registry", rpc: "a/b", msg: "rpc refused" },
    ]);
  });
});
