/** What servers tell the audit log: each change and each denial, the latter within a bound (F-097, F-115). */
import type { DescMessage, DescMethod, Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { Sensitivity } from "@rspp/gen/rspp/common/v1/sensitivity_pb";
import { tenantsIn } from "./access.ts";
import { type Caller, everyTenant } from "./caller.ts";
import { errorRule, type RpcError } from "./errors.ts";
import { limits } from "./limits.ts";
import { describeMessage, sensitivityOf } from "./log.ts";

/** One line of the audit log, without its place in the chain. */
export interface CallRecord {
  readonly tenantId: string;
  readonly actor: string;
  /** Full name of the RPC, `denied ` before it when it was refused. */
  readonly action: string;
  readonly subject: string;
  /** Nothing personal, no secrets. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Keeps records; resolves when they are durable, or could not be made so, which it tells by itself. */
export interface AuditSink {
  record(record: CallRecord): Promise<void>;
}

const subjectCharsMax = 512;
const detailCharsMax = 8_192;
const windowMs = 60_000;

/** Between the guard of a server and the log. */
export class CallAudit {
  readonly #sink: AuditSink;
  readonly #monoMs: () => number;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #denials = 0;
  #suppressed = 0;

  constructor(sink: AuditSink, monoMs: () => number = () => performance.now()) {
    this.#sink = sink;
    this.#monoMs = monoMs;
  }

  /** Denials that only their number was told of, or will be. */
  get suppressed(): number {
    return this.#suppressed;
  }

  /** Something was changed; `outcome` is a reason when it is not known whether it was. */
  changed(method: DescMethod, caller: Caller, message: Message, outcome: string): Promise<void> {
    const schema = method.input;
    const [tenant] = tenantsIn(schema, message);
    return this.#sink.record({
      tenantId: tenant || caller.tenantId,
      actor: caller.name,
      action: nameOf(method),
      subject: subjectOf(schema, message),
      detail: { outcome, request: bounded(describeMessage(schema, message)) },
    });
  }

  /** Never rejects and never waits: whoever is refused is told at once. */
  denied(method: DescMethod, caller: Caller | null, error: RpcError, message: Message | null): void {
    const nowMs = this.#monoMs();
    if (nowMs - this.#windowStartMs >= windowMs) {
      this.#windowStartMs = nowMs;
      this.#denials = 0;
    }
    this.#denials++;
    if (this.#denials > limits.AUDIT_DENIALS_PER_MINUTE_MAX) {
      this.#suppressed++;
      return;
    }
    const suppressed = this.#suppressed === 0 ? {} : { suppressed_before: this.#suppressed };
    this.#suppressed = 0;
    const { problem } = error.detail.metadata;
    const why = { reason: errorRule(error.reason).name, ...(problem === undefined ? {} : { problem }) };
    void this.#sink.record({
      // Nobody writes into the log of a tenant he has not shown to belong to.
      tenantId: caller?.tenantId ?? everyTenant,
      actor: caller?.name ?? "unknown",
      action: `denied ${nameOf(method)}`,
      subject: message === null ? "" : subjectOf(method.input, message),
      detail: { ...why, ...suppressed },
    });
  }
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/** Names and ids in a request, as `field=value`; what is personal or secret is left out. */
function subjectOf(schema: DescMessage, message: Message): string {
  const view = reflect(schema, message);
  const parts: string[] = [];
  for (const field of schema.fields) {
    if (!view.isSet(field) || sensitivityOf(field) !== Sensitivity.PUBLIC) continue;
    if (field.fieldKind === "scalar") {
      const value = view.get(field);
      const named = typeof value === "string" && /(?:^|_)(?:id|name|instance|subject|kind)$/.test(field.name);
      if (named && field.name !== "tenant_id") parts.push(`${field.name}=${value}`);
      if (field.name === "version" || field.name.endsWith("_version")) parts.push(`${field.name}=${String(value)}`);
    } else if (field.fieldKind === "message" && field.message.typeName === "rspp.common.v1.SessionKey") {
      const session = view.get(field);
      const id = field.message.fields.find(({ name }) => name === "session_id");
      if (id?.fieldKind === "scalar") parts.push(`session_id=${String(session.get(id))}`);
    }
  }
  return parts.join(" ").slice(0, subjectCharsMax);
}

function bounded(fields: Readonly<Record<string, unknown>>): unknown {
  return JSON.stringify(fields).length > detailCharsMax ? "[large]" : fields;
}
