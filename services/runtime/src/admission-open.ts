/** The checks every session goes through, in their order, and how it is opened once they hold. */
import { randomBytes } from "node:crypto";
import { err, ok, type Result } from "@rspp/base/result";
import type { ProviderCandidate } from "@rspp/kernel/graph";
import type { Clock } from "@rspp/ports/clock";
import type { ProviderPort } from "@rspp/ports/provider";
import type { OpenRefusal, SessionNote } from "@rspp/ports/session-opener";
import type { TransportIngress } from "@rspp/ports/transport";
import { describeFailure } from "@rspp/rpc/log";
import { bindForSession } from "@rspp/spec/bind-providers";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { Overrides } from "@rspp/spec/overrides";
import { sessionConfigOf } from "@rspp/spec/session-config";
import { sessionTexts } from "@rspp/spec/session-texts";
import { fillVariables, type TakenVariables, takeVariables, type VariableValues } from "@rspp/spec/session-variables";
import type { Admission, AdmissionRequest, Admitted } from "./admission.ts";
import { readVariables, type SessionVariables } from "./admission-variables.ts";
import type { OpenedUnder, SessionPolicies } from "./control-snapshots.ts";
import type { StatePort } from "./durable/store.ts";
import { readTakeover, type Taken, takenOver } from "./durable/takeover.ts";
import { type LeaseKeeper, type LeaseTerms, leaseTerms } from "./lease-keeper.ts";
import { limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import type { Pipelines } from "./pipelines.ts";
import type { PolicySubject } from "./policy-book.ts";
import type { Runtime, RuntimeRefusal, RuntimeSession } from "./runtime.ts";

export interface AdmissionOptions {
  readonly instanceId: string;
  readonly runtime: Runtime;
  readonly pipelines: Pipelines;
  readonly providers: ProviderPort;
  readonly leases: LeaseKeeper;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where a predecessor's durable state is read. Default: nowhere. */
  readonly state?: StatePort;
  /** Put before the language models of every spec; null none. */
  readonly llm: ProviderCandidate | null;
  /** Snapshots of the control plane that sessions are opened and run under; absent: pipelines stand as they are. */
  readonly policies?: SessionPolicies;
  /** Session variables the pipeline does not declare; default relaxed: they are taken along with a warning. */
  readonly undeclaredVariables?: "strict" | "relaxed";
  /** Sessions at once. Default SESSIONS_MAX. */
  readonly capacity?: number;
  /** True: takes no new sessions. */
  draining(): boolean;
  /** True for a session that ran here and has ended. */
  over(tenantId: string, sessionId: string): boolean;
  /** A session was opened, before anything of it was sent. */
  onOpened?(session: RuntimeSession, request: AdmissionRequest): void;
}

export function createAdmission(options: AdmissionOptions): Admission {
  return {
    instanceId: options.instanceId,
    async open(request) {
      const { sessionId: session_id, tenantId: tenant_id } = request.claims;
      const admitted = await admit(options, request).catch((failure: unknown) => {
        options.logger.error({ session_id, tenant_id, ...describeFailure(failure) }, "session could not be opened");
        return refused("runtime_internal_error", "this is a defect of the runtime: report it with the session's id");
      });
      if (!admitted.ok) options.logger.info({ session_id, tenant_id, ...admitted.error }, "session not admitted");
      return admitted;
    },
  };
}

async function admit(options: AdmissionOptions, request: AdmissionRequest): Promise<Result<Admitted, OpenRefusal>> {
  const refusal = addressedElsewhere(options, request) ?? spent(options, request) ?? full(options);
  if (refusal !== null) return err(refusal);
  const { claims, grant } = request;
  const taking = takeoverOf(options, request);
  const variables = readVariables({ ...request.variables, ...claims.variables });
  if (!variables.ok) return refused("pipeline_invalid", variables.error);
  const own = await ownSettings(variables.value.settings);
  if (!own.ok) return refused("pipeline_invalid", own.error);
  const found = await options.pipelines.get(claims.tenantId, claims.pipelineVersion, own.value);
  if (!found.ok) return found;
  const taken = takenVariables(options, request, found.value, variables.value);
  if (!taken.ok) return refused("pipeline_invalid", taken.error);
  const available = options.providers.providers();
  const under = await underPolicy(options, request, fillVariables(found.value, taken.value), taken.value.values);
  if (!under.ok) return under;
  const bound = bindForSession(under.value.pipeline, {
    available,
    transcripts: variables.value.transcripts,
    llm: options.llm === null || !available.includes(options.llm.provider) ? null : options.llm,
  });
  if (!bound.ok) return refused("dependency_unavailable", `${bound.error.message}: ${bound.error.remedy}`);
  const before = taking === null ? null : await taking;
  // While the registry was asked, others may have come, and the grant has grown older.
  const late = full(options);
  if (late !== null) return err(late);
  const terms = leaseTerms(grant, options.clock);
  if (terms === null)
    return refused("authority_epoch_mismatch", "the lease ran out: ask the lease service for a grant");
  const prepared = { pipeline: bound.value, refs: under.value.refs, terms, variables: taken.value.values };
  return open(options, request, { ...prepared, taken: before });
}

/** The pipeline as the control plane's policy has it (F-062); itself where there is none. */
function underPolicy(
  { policies }: AdmissionOptions,
  request: AdmissionRequest,
  pipeline: CompiledPipeline,
  vars: VariableValues,
): Promise<Result<OpenedUnder, OpenRefusal>> {
  if (policies === undefined) return Promise.resolve(ok({ pipeline, refs: {} }));
  return policies.open(pipeline, subjectOf(request, pipeline, vars));
}

function subjectOf({ claims }: AdmissionRequest, { name }: CompiledPipeline, vars: VariableValues): PolicySubject {
  return { tenant: claims.tenantId, pipeline: name, vars };
}

/** Read while the pipeline is got; never rejects. */
function takeoverOf({ state, clock }: AdmissionOptions, { claims, takeover }: AdmissionRequest) {
  if (takeover === undefined || takeover === null) return null;
  const { tenantId, sessionId } = claims;
  return readTakeover(takeover, { tenantId, sessionId }, state ?? null, clock, TAKEN_TEXTS_FROM);
}

/** Refs of a predecessor's texts: those of the pipeline are fewer. */
const TAKEN_TEXTS_FROM = 1_000;

/** What reads them is loaded with the first session that sets something for itself. */
async function ownSettings(settings: SessionVariables["settings"]): Promise<Result<Overrides | null, string>> {
  if (Object.keys(settings).length === 0) return ok(null);
  const { sessionOverrides } = await import("@rspp/spec/session-overrides");
  return sessionOverrides(settings);
}

/** typed by the pipeline; what it does not declare is refused, or told to who runs the platform. */
function takenVariables(
  { logger, undeclaredVariables = "relaxed" }: AdmissionOptions,
  { claims }: AdmissionRequest,
  pipeline: CompiledPipeline,
  { variables }: SessionVariables,
): Result<TakenVariables, string> {
  const taken = takeVariables(pipeline, variables, undeclaredVariables);
  if (taken.ok && taken.value.undeclared.length > 0 && pipeline.variables !== undefined) {
    const { sessionId: session_id, tenantId: tenant_id, pipelineVersion: pipeline_version } = claims;
    const found = { session_id, tenant_id, pipeline_version, variables: taken.value.undeclared };
    logger.warn(found, "session variables are not declared by the pipeline");
  }
  return taken;
}

/** Whether token and grant are for this instance, and both for the same session. */
function addressedElsewhere(
  { instanceId }: AdmissionOptions,
  { claims, grant, takeover }: AdmissionRequest,
): OpenRefusal | null {
  const denied = (remedy: string): OpenRefusal => ({ reason: "permission_denied", remedy });
  // The route named the first runtime; that the session lives here now the lease service's grant says.
  const routed = takeover !== undefined && takeover !== null ? "" : claims.instanceId;
  if (routed !== "" && routed !== instanceId) {
    return denied(`the token is for runtime ${claims.instanceId}, this is ${instanceId}: connect to the one it names`);
  }
  const { session } = grant;
  if (session?.tenantId !== claims.tenantId || session.sessionId !== claims.sessionId) {
    return denied("token and grant name two sessions: ask for a grant for the session of the token");
  }
  if (grant.holderId === instanceId) return null;
  if (grant.holderId === "") {
    return {
      reason: "authority_epoch_mismatch",
      remedy: "the grant is a revocation: ask the lease service for a grant",
    };
  }
  return denied(`the grant is held by ${grant.holderId}, this is ${instanceId}: ask for one that names this runtime`);
}

/** F-088: a token admits to its session, not to another of the same name after it. */
function spent(
  { over }: AdmissionOptions,
  { claims: { tenantId, sessionId }, takeover }: AdmissionRequest,
): OpenRefusal | null {
  // It may come back to a runtime that gave it away.
  if (takeover !== undefined && takeover !== null) return null;
  if (!over(tenantId, sessionId)) return null;
  return {
    reason: "permission_denied",
    remedy: `session ${sessionId} is over: ask the registry for a new route`,
  };
}

function full({ runtime, capacity = limits.SESSIONS_MAX, draining }: AdmissionOptions): OpenRefusal | null {
  if (draining()) return { reason: "draining", remedy: "this runtime takes no new sessions: ask for a new route" };
  if (runtime.sessions().length < capacity) return null;
  return { reason: "capacity_exhausted", remedy: `all ${capacity} sessions are in use: ask for a new route` };
}

interface Prepared {
  readonly pipeline: CompiledPipeline;
  readonly refs: OpenedUnder["refs"];
  readonly terms: LeaseTerms;
  readonly variables: VariableValues;
  /** Null: a new session. */
  readonly taken: Taken | null;
}

function open(
  options: AdmissionOptions,
  request: AdmissionRequest,
  { pipeline, refs, terms, variables, taken }: Prepared,
): Result<Admitted, OpenRefusal> {
  const { claims, grant, transport } = request;
  const epoch = Number(grant.epoch);
  const { texts, greeting: hello, ...told } = sessionTexts(pipeline);
  const fresh = sessionConfigOf(pipeline, {
    sessionId: claims.sessionId,
    tenantId: claims.tenantId,
    seed: randomBytes(16).toString("hex"),
    authority: { epoch, incarnation: `store-${grant.storeIncarnation}`, deadlineNs: terms.deadlineNs },
    ...told,
    variables,
    snapshots: refs,
  });
  const trace = request.traceparent === undefined ? {} : { traceparent: request.traceparent };
  const { takeover, turnsBefore = 0 } = taken ?? {};
  const config = takeover === undefined ? fresh : { ...fresh, takeover, turnsBefore };
  const opened = options.runtime.openSession({ config, transport, texts: { ...texts, ...taken?.texts }, ...trace });
  if (!opened.ok) return err(openRefusal(opened.error));
  const session = opened.value;
  options.policies?.keep(session, pipeline, subjectOf(request, pipeline, variables));
  options.onOpened?.(session, request);
  const { raiseEpoch } = request;
  const raise = raiseEpoch === undefined ? {} : { raiseEpoch: raiseEpoch.bind(request) };
  options.leases.keep({ session, tenantId: claims.tenantId, grant, terms, ...raise });
  return ok({
    // A caller who was greeted is not greeted again.
    session: hello === undefined || takeover !== undefined ? session : greeting(session, hello),
    ...(takeover === undefined ? {} : { taken: takenOver(takeover) }),
    epoch,
    pipelineVersion: claims.pipelineVersion,
    reconnectMs: pipeline.policy.reconnectMs,
    observe: (kinds, tell) => observe(session, kinds, tell),
  });
}

/** Says `text` once the caller is there: not before, since nobody would hear it. */
function greeting(session: RuntimeSession, text: string): RuntimeSession {
  let said = false;
  const receive = (message: TransportIngress): void => {
    session.receive(message);
    if (said || message.kind !== "control" || message.signal !== "connected") return;
    said = true;
    session.say(text);
  };
  return { ...session, receive };
}

function observe(
  session: RuntimeSession,
  kinds: readonly SessionNote["kind"][],
  tell: (note: SessionNote) => void,
): () => void {
  const subscription = session.events.subscribe({
    kinds,
    onReady: (queue) => {
      for (let event = queue.take(); event !== undefined; event = queue.take()) {
        if (event.kind === "metrics" || event.kind === "debug" || event.kind === "error") tell(event);
      }
    },
  });
  return () => subscription?.close();
}

const reasons: Readonly<Record<RuntimeRefusal["code"], OpenRefusal["reason"]>> = {
  sessions_full: "capacity_exhausted",
  draining: "draining",
  session_exists: "already_exists",
  recording_reservation: "recording_unavailable",
  stale_epoch: "authority_epoch_mismatch",
  vad_missing: "dependency_unavailable",
  node_package_missing: "dependency_unavailable",
  texts_too_large: "pipeline_invalid",
  text_invalid: "pipeline_invalid",
  capture_invalid: "runtime_internal_error",
  session_ended: "runtime_internal_error",
};

function openRefusal({ code, detail }: RuntimeRefusal): OpenRefusal {
  return { reason: reasons[code], remedy: detail };
}

function refused(reason: OpenRefusal["reason"], remedy: string): Result<never, OpenRefusal> {
  return err({ reason, remedy });
}
