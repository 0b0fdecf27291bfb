/** Who may call an RPC (F-115), read from its descriptor: proto/rspp/common/v1/access.proto. */
import { type DescMessage, type DescMethod, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { AccessScope, access as accessOption, Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { HealthService, reflectionContracts } from "./well-known.ts";

export interface MethodAccess {
  /** Least role. */
  readonly role: Role;
  /** The token of a session opens it too, for that session alone. */
  readonly session: boolean;
  readonly scope: AccessScope;
  /** Its calls belong in the audit log. */
  readonly mutates: boolean;
}

/** Health and reflection tell nothing of anybody, and are asked by those who hold no secret. */
const open = new Set([HealthService, ...reflectionContracts.map(({ service }) => service)].map((s) => s.typeName));

const known = new WeakMap<DescMethod, MethodAccess>();

/** An RPC that says nothing is for services alone. */
export function accessOf(method: DescMethod): MethodAccess {
  const found = known.get(method) ?? readAccess(method);
  known.set(method, found);
  return found;
}

function readAccess(method: DescMethod): MethodAccess {
  if (open.has(method.parent.typeName)) {
    return { role: Role.OPEN, session: false, scope: AccessScope.NONE, mutates: false };
  }
  if (!hasOption(method, accessOption)) {
    return { role: Role.SERVICE, session: false, scope: AccessScope.TENANT, mutates: false };
  }
  const { role, session, scope, reads } = getOption(method, accessOption);
  return {
    role: role === Role.UNSPECIFIED ? Role.SERVICE : role,
    session,
    scope: scope === AccessScope.UNSPECIFIED ? AccessScope.TENANT : scope,
    mutates: (role === Role.OPERATOR || role === Role.ADMIN) && !reads,
  };
}

/** How deep a request is looked into for tenant ids; deeper ones stand in nothing that a tenant's token opens. */
const depthMax = 6;

/** Every `tenant_id` that a request holds, at any depth, empty ones too. */
export function tenantsIn(schema: DescMessage, message: Message): readonly string[] {
  if (!namesTenant(schema)) return [];
  const found: string[] = [];
  walk(reflect(schema, message), found, 0);
  return found;
}

function walk(view: ReflectMessage, found: string[], depth: number): void {
  if (depth > depthMax) return;
  for (const field of view.desc.fields) {
    if (field.fieldKind === "scalar") {
      if (field.name !== "tenant_id") continue;
      const value = view.get(field);
      if (typeof value === "string") found.push(value);
    } else if (field.fieldKind === "message") {
      if (view.isSet(field) && namesTenant(field.message)) walk(view.get(field), found, depth + 1);
    } else if (field.fieldKind === "list" && field.listKind === "message" && namesTenant(field.message)) {
      for (const item of view.get(field)) walk(item as ReflectMessage, found, depth + 1);
    } else if (field.fieldKind === "map" && field.mapKind === "message" && namesTenant(field.message)) {
      for (const item of view.get(field).values()) walk(item as ReflectMessage, found, depth + 1);
    }
  }
}

const naming = new WeakMap<DescMessage, boolean>();

/** Whether messages of the type can hold a `tenant_id` somewhere. */
export function namesTenant(schema: DescMessage): boolean {
  const cached = naming.get(schema);
  if (cached !== undefined) return cached;
  naming.set(schema, false); // a type that holds itself
  const found = schema.fields.some((field) => {
    if (field.name === "tenant_id") return true;
    return field.message !== undefined && namesTenant(field.message);
  });
  naming.set(schema, found);
  return found;
}

/** e.g. `viewer`. */
export function roleName(role: Role): string {
  return (Role[role] ?? "unknown").toLowerCase();
}
