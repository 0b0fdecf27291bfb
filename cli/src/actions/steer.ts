/** `rspp say`, `cancel` and `end`: an operator's hand on a running session. */
import { randomUUID } from "node:crypto";
import { CancelScope, RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { TurnOrigin } from "@rspp/gen/rspp/event/v1/control_pb";
import { CancelMode, SecondProposal } from "@rspp/gen/rspp/pipeline/v1/arbitration_pb";
import { SessionStateSchema } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import type { CancelOptions, CaptureOptions, EndOptions, SayOptions } from "../commands/steer.ts";
import { wordOf } from "../enum-words.ts";
import { EXIT_OK, usageError } from "../errors.ts";
import type { RuntimeOptions } from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { connectTo, type Peer } from "../platform-client/connect.ts";

function runtimeOf(options: RuntimeOptions): Peer<typeof SessionService> {
  return connectTo("runtime", options.runtime, SessionService, options);
}

export async function say(sessionId: string, words: readonly string[], options: SayOptions): Promise<number> {
  const text = words.join(" ").trim();
  if (text === "") throw usageError("there is nothing to say", "give a text: rspp say SESSION TEXT");
  const { proposalEventId } = await runtimeOf(options).ask((client) =>
    client.proposeTurn({
      session: { tenantId: options.tenant, sessionId },
      origin: TurnOrigin.OPERATOR,
      say: text,
      uninterruptible: options.uninterruptible ?? false,
      ...(options.queue === true ? { second: SecondProposal.QUEUE } : {}),
      hangUp: options.hangUp ?? false,
      idempotencyKey: randomUUID(),
    }),
  );
  const printer = createPrinter(options.json ?? false);
  printer.data({ session: sessionId, proposal_event: proposalEventId });
  printer.line(`proposed (${proposalEventId}); whether a turn comes of it is told by: rspp watch ${sessionId}`);
  return EXIT_OK;
}

/** @throws CommandError when more than one scope is named. */
function scopeOf({ node, invocation, all }: CancelOptions): { scope: CancelScope; targetId: string; words: string } {
  if ([node, invocation, all || undefined].filter((given) => given !== undefined).length > 1)
    throw usageError("--node, --invocation and --all are one or the other", "name one scope");
  if (all) return { scope: CancelScope.SESSION, targetId: "", words: "everything of the session" };
  if (node !== undefined) return { scope: CancelScope.NODE, targetId: node, words: `node ${node}` };
  if (invocation === undefined) return { scope: CancelScope.TURN, targetId: "", words: "the turn" };
  return { scope: CancelScope.PROVIDER_INVOCATION, targetId: invocation, words: `invocation ${invocation}` };
}

export async function cancel(sessionId: string, options: CancelOptions): Promise<number> {
  const { scope, targetId, words } = scopeOf(options);
  const { cancelEventId } = await runtimeOf(options).ask((client) =>
    client.cancelScope({
      session: { tenantId: options.tenant, sessionId },
      scope,
      turnNumber: options.turn ?? 0,
      targetId,
      mode: options.soft ? CancelMode.SOFT : CancelMode.HARD,
      reason: Reason.OPERATOR_CANCEL,
      idempotencyKey: randomUUID(),
    }),
  );
  const printer = createPrinter(options.json ?? false);
  printer.data({ session: sessionId, cancel_event: cancelEventId, scope: words });
  printer.line(`cancelled ${words} (${cancelEventId})`);
  return EXIT_OK;
}

export async function end(sessionId: string, options: EndOptions): Promise<number> {
  const { info } = await runtimeOf(options).ask((client) =>
    client.endSession({
      session: { tenantId: options.tenant, sessionId },
      reason: Reason.AGENT_HANGUP,
      drainMs: options.drain,
    }),
  );
  const state = wordOf(SessionStateSchema, info?.state);
  const printer = createPrinter(options.json ?? false);
  printer.data({ session: sessionId, state, turns: info?.turns ?? 0 });
  printer.line(`session ${sessionId} is ${state}`);
  return EXIT_OK;
}

const CAPTURE_MS_DEFAULT = 600_000;

export async function capture(sessionId: string, options: CaptureOptions): Promise<number> {
  const { level } = options;
  const durationMs = level === "L0" ? 0 : (options.for ?? CAPTURE_MS_DEFAULT);
  const { policyId, untilWallMs } = await runtimeOf(options).ask((client) =>
    client.captureSession({
      session: { tenantId: options.tenant, sessionId },
      level: RecordingLevel[level],
      durationMs,
    }),
  );
  const printer = createPrinter(options.json ?? false);
  const until = new Date(Number(untilWallMs)).toISOString();
  printer.data({ session: sessionId, level, policy: policyId, until });
  if (level === "L0") printer.line(`session ${sessionId} is captured no longer`);
  else
    printer.line(
      `session ${sessionId} is recorded at ${level} from its next turn boundary until ${until} (${policyId})`,
    );
  return EXIT_OK;
}
