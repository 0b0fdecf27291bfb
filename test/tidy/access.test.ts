/** F-115: every RPC says who may call it; servers enforce what stands there (libs/rpc/src/access.ts). */
import { type DescMessage, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { AccessScope, access, Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { namesTenant } from "@rspp/rpc/access";
import { expect, test } from "vitest";
import { contracts, ownServices } from "../contract/contracts.ts";

const methods = ownServices(contracts()).flatMap((service) => service.methods);
const readingNames = /^(?:Get|List|Watch|Read|Verify|Validate|Describe|Export|Explain|Resolve|Evaluate|Check|Diff)/;

function problemOf(method: DescMethod): string | null {
  if (!hasOption(method, access)) {
    return (
      "has no (rspp.common.v1.access): import rspp/common/v1/access.proto and write in its braces " +
      "`option (rspp.common.v1.access) = {role: ROLE_VIEWER};` (VIEWER reads, OPERATOR changes what runs, ADMIN what " +
      "will run, SERVICE: services alone), then `npm run gen`"
    );
  }
  const { role, session, scope, reads } = getOption(method, access);
  if (role === Role.UNSPECIFIED)
    return "has an access without a role: write one of VIEWER, OPERATOR, ADMIN, SERVICE, OPEN";
  const ofPeople = role >= Role.SESSION && role <= Role.ADMIN;
  const byTenant = scope === AccessScope.UNSPECIFIED || scope === AccessScope.TENANT;
  if ((ofPeople || session) && byTenant && !namesTenant(method.input)) {
    return (
      "is for people, but its request names no tenant: add `tenant_id` or a SessionKey, or write " +
      "`scope: ACCESS_SCOPE_PLATFORM` (tokens of `*` alone) or `scope: ACCESS_SCOPE_NONE` (touches nobody's things)"
    );
  }
  if (session && !holds(method.input, "session") && !holds(method.input, "tenant_id")) {
    return "is open to session tokens, but its request names neither `session` nor `tenant_id`";
  }
  if ((role === Role.VIEWER || role === Role.SESSION) && !readingNames.test(method.name)) {
    return "changes something by its name, so OPERATOR or ADMIN is its least role; or name it Get…, List…, Watch…, Read…";
  }
  const recorded = (role === Role.OPERATOR || role === Role.ADMIN) && !reads;
  if (recorded && (method.methodKind === "bidi_streaming" || method.methodKind === "client_streaming")) {
    return "changes something by a stream of requests, of which the audit log would hold one line: make it unary";
  }
  return null;
}

function holds(message: DescMessage, field: string): boolean {
  return message.fields.some(({ name }) => name === field);
}

test("F-115 every RPC says which role may call it, and what of a tenant it touches", () => {
  const found = methods.flatMap((method) => {
    const problem = problemOf(method);
    return problem === null ? [] : [`${method.parent.typeName}/${method.name} ${problem}`];
  });
  expect(found, found.join("\n")).toEqual([]);
  expect(methods.length).toBeGreaterThan(35);
});

test("F-115 an RPC without its role is found", () => {
  const bare = contracts()
    .getService("rspp.registry.v1.RegistryService")
    ?.methods.find(({ name }) => name === "CreateRoute");
  expect(bare).toBeDefined();
  if (bare === undefined) return;
  const stripped: DescMethod = { ...bare, proto: { ...bare.proto, options: undefined } } as DescMethod;
  expect(problemOf(bare)).toBeNull();
  expect(problemOf(stripped)).toMatch(/write in its braces/);
});
