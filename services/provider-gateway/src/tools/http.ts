/** `tool/http`: a tool behind a webhook. Arguments are the JSON body, or the query of a GET; the answer is its result. */
import type { Clock } from "@rspp/ports/clock";
import type { OutcomeKind } from "@rspp/ports/provider";
import { endedInvocation, type ManagedProvider } from "../attempt.ts";
import { readSettings, type SettingValues } from "../settings.ts";
import { headersOf, type ToolAccess } from "./access.ts";
import { ArgumentsCheck } from "./check-arguments.ts";
import { ExecutedCalls } from "./executed.ts";
import {
  refused,
  type ToolAnswer,
  ToolInvocation,
  type ToolPlace,
  type ToolRun,
  toolSpecs,
} from "./tool-invocation.ts";

const specs = {
  ...toolSpecs,
  url: { type: "string", default: "" },
  method: { type: "string", default: "POST", oneOf: ["GET", "POST", "PUT", "PATCH", "DELETE"] },
} as const;

type Values = SettingValues<typeof specs>;

const ATTEMPTS_MAX = 3;
const RETRY_MS = 100;
/** Of the body of a refused call, for the model. */
const REFUSAL_CHARS_MAX = 1_000;
/** Outcomes that another try may mend. */
const PASSING: readonly OutcomeKind[] = ["overload", "disconnect"];

export interface ToolOptions {
  readonly clock: Clock;
  readonly access: ToolAccess;
  readonly executed?: ExecutedCalls;
}

export function createHttpTool({ clock, access, executed = new ExecutedCalls() }: ToolOptions): ManagedProvider {
  const place: ToolPlace = { clock, check: new ArgumentsCheck(), executed, running: new Set() };
  return {
    name: "tool/http",
    modality: "tool",
    available: () => access.any,
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const { values } = read;
      const url = URL.canParse(values.url) ? new URL(values.url) : undefined;
      if (url === undefined || !access.origin(url))
        return endedInvocation(clock, sink, "error", "the tool's address may not be called; see tool_origins");
      return new ToolInvocation(place, request, sink, values, (run) => callHttp(url, values, access, run));
    },
    close: async () => {
      for (const abort of place.running) abort.abort();
    },
  };
}

/** Tried again within its deadline where that does nothing a second time; the key tells the webhook of it. */
async function callHttp(url: URL, values: Values, access: ToolAccess, run: ToolRun): Promise<ToolAnswer> {
  const found = await headersOf(values.headers, access);
  if (!found.ok) return { kind: "unauthorized", detail: found.problem, text: "" };
  const request = requestOf(url, values, found.headers, run);
  for (let attempt = 1; ; attempt++) {
    const answer = await once(request, run);
    const waitMs = RETRY_MS * 2 ** (attempt - 1);
    const late = performance.now() + waitMs >= run.untilMs;
    const again = run.repeatable && PASSING.includes(answer.kind) && attempt < ATTEMPTS_MAX;
    if (!again || late || run.signal.aborted) return answer;
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

interface HttpRequest {
  readonly url: URL;
  readonly init: RequestInit;
}

function requestOf(url: URL, { method }: Values, secrets: Record<string, string>, run: ToolRun): HttpRequest {
  const query = method === "GET";
  const target = new URL(url);
  if (query) for (const [name, value] of Object.entries(run.args)) target.searchParams.set(name, plain(value));
  return {
    url: target,
    init: {
      method,
      signal: run.signal,
      redirect: "manual",
      headers: {
        accept: "application/json, text/*;q=0.5",
        ...(query ? {} : { "content-type": "application/json" }),
        ...(run.trace === "" ? {} : { traceparent: run.trace }),
        ...secrets,
        "idempotency-key": run.idempotencyKey,
      },
      ...(query ? {} : { body: JSON.stringify(run.args) }),
    },
  };
}

function plain(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

async function once({ url, init }: HttpRequest, run: ToolRun): Promise<ToolAnswer> {
  try {
    const response = await fetch(url, init);
    const body = await textOf(response, run.resultBytesMax);
    return normalise(response.status, body, run.resultBytesMax);
  } catch (error) {
    return { kind: "disconnect", detail: `the connection failed${codeOf(error)}`, text: "" };
  }
}

/** The body as text; null where it is longer than its bound, and then the rest is not read. */
async function textOf(response: Response, bytesMax: number): Promise<string | null> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > bytesMax) return null;
    parts.push(part);
  }
  return new TextDecoder().decode(Buffer.concat(parts));
}

function normalise(status: number, body: string | null, bytesMax: number): ToolAnswer {
  const detail = `HTTP ${status}`;
  if (status >= 300 && status < 400) return refused(`${detail}: redirects are not followed`, "");
  if (status >= 200 && status < 300) {
    if (body === null) return refused(`the result is longer than ${bytesMax} bytes`, "the result is too long");
    return { kind: "success", detail: "", text: body.trim() };
  }
  if (status === 401 || status === 403)
    return { kind: "unauthorized", detail: `${detail}: the tool refused the call`, text: "" };
  if (status === 408 || status === 504) return { kind: "timeout", detail, text: "" };
  if (status === 429 || status === 502 || status === 503) return { kind: "overload", detail, text: "" };
  // What a tool says of a call it refuses is for the model to speak of; what a broken one says is not.
  const said = status < 500 ? (body ?? "").trim().slice(0, REFUSAL_CHARS_MAX) : "";
  return { kind: "error", detail, text: said === "" ? "" : JSON.stringify({ error: detail, body: said }) };
}

/** fetch reports every network failure as a TypeError whose cause holds the code. */
function codeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === "string" ? ` (${cause.code})` : "";
}
