/** What the carrier asks over HTTP: who answers a call that comes in, and what is next when a stream has ended. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Result } from "@rspp/base/result";
import type { Problem } from "@rspp/transport/problem";
import { limits } from "./limits.ts";
import { type Form, isSignedByTwilio } from "./twilio/signature.ts";
import { connectStream, hangUp, redirect, reject, sayAndHangUp } from "./twilio/twiml.ts";

export const STREAM_PATH = "/v1/twilio/stream";
export const VOICE_PATH = "/v1/twilio/voice";
export const NEXT_PATH = "/v1/twilio/next";

export interface IncomingCall {
  readonly callSid: string;
  readonly from: string;
  readonly to: string;
}

/** Admits a call at the registry: where its stream is to go, and the token for it. */
export type RouteForCall = (call: IncomingCall) => Promise<Result<{ url: string; token: string }, Problem>>;

/** Calls that a machine has taken; the carrier says so where it was asked to find out. */
export interface VoicePolicy {
  readonly machine: "talk" | "hang_up" | "notice";
  /** Said to a machine, then the call ends. */
  readonly notice: string;
  /** Asked what is next for a call whose agent has ended it: a cold transfer answers `<Dial>`. "": it is hung up. */
  readonly afterUrl: string;
}

/** A call that is over here. */
export interface EndedCall {
  readonly tenant: string;
  readonly session: string;
  readonly reason: string;
}

export interface WebhookHost {
  readonly route: RouteForCall;
  readonly policy: VoicePolicy;
  readonly authToken: (() => Promise<string>) | null;
  /** `https://host[:port]`, as the carrier calls it. */
  readonly origin: string;
  readonly draining: boolean;
  /** The stream's address and the key to come back with, where the call waits for one. */
  waiting(callSid: string): { url: string; resume: string } | null;
  /** How it ended, where its agent or the platform ended it a moment ago. */
  ended(callSid: string): EndedCall | null;
  refused(name: string): void;
}

type Answer = { readonly status: number; readonly body: string; readonly twiml: boolean };

const twiml = (body: string): Answer => ({ status: 200, body, twiml: true });
const refusal = (status: number, body: string): Answer => ({ status, body: `${body}\n`, twiml: false });

/** Never rejects. */
export async function answerWebhook(
  request: IncomingMessage,
  response: ServerResponse,
  host: WebhookHost,
): Promise<void> {
  const answer = await answerTo(request, host).catch(() => refusal(500, "Report it with the call's SID."));
  response.writeHead(answer.status, {
    "content-type": answer.twiml ? "text/xml; charset=utf-8" : "text/plain; charset=utf-8",
    ...(answer.status === 413 ? { connection: "close" } : {}),
  });
  response.end(answer.body);
}

async function answerTo(request: IncomingMessage, host: WebhookHost): Promise<Answer> {
  const path = (request.url ?? "/").split("?", 1)[0];
  if (path === STREAM_PATH) return refusal(426, "This is a WebSocket endpoint: see docs/telephony.md");
  if (path !== VOICE_PATH && path !== NEXT_PATH) return refusal(404, `POST to ${VOICE_PATH}: see docs/telephony.md`);
  if (request.method !== "POST") return refusal(405, "Use POST.");
  const form = await formOf(request);
  if (form === null) return refusal(413, `A form has at most ${limits.FORM_BYTES_MAX} bytes.`);
  const unsigned = await signatureProblem(request, form, host);
  if (unsigned !== null) {
    host.refused("permission_denied");
    return refusal(403, unsigned);
  }
  return path === VOICE_PATH ? voice(form, host) : next(form, host);
}

async function signatureProblem(request: IncomingMessage, form: Form, host: WebhookHost): Promise<string | null> {
  if (host.authToken === null) return null;
  const token = await host.authToken().catch(() => "");
  if (token === "") return "twilio_auth_token is not there: set it, or signature to off.";
  const signature = String(request.headers["x-twilio-signature"] ?? "");
  if (isSignedByTwilio(token, signature, `${host.origin}${request.url ?? "/"}`, form)) return null;
  return "X-Twilio-Signature is not of this account and address: check twilio_auth_token and public_url.";
}

async function voice(form: Form, host: WebhookHost): Promise<Answer> {
  const machine = /^(machine|fax)/.test(textOf(form, "AnsweredBy"));
  if (machine && host.policy.machine === "hang_up") return twiml(hangUp());
  if (machine && host.policy.machine === "notice") return twiml(sayAndHangUp(host.policy.notice));
  const call = { callSid: textOf(form, "CallSid"), from: textOf(form, "From"), to: textOf(form, "To") };
  if (call.callSid === "") return refusal(400, "CallSid is not there: post a call's form.");
  if (host.draining) return twiml(reject());
  const route = await host.route(call);
  if (!route.ok) {
    host.refused(route.error.reason);
    return twiml(reject());
  }
  const { url, token } = route.value;
  return twiml(connectStream({ url, parameters: { token }, next: nextOf(url) }));
}

/** A stream has ended and the call has not: it was cut, and goes on; or the agent has ended it. */
function next(form: Form, host: WebhookHost): Answer {
  const callSid = textOf(form, "CallSid");
  const waits = host.waiting(callSid);
  if (waits === null) return after(host.ended(callSid), host.policy.afterUrl);
  return twiml(connectStream({ url: waits.url, parameters: { resume: waits.resume }, next: nextOf(waits.url) }));
}

/** The application is told which call it was, and says what is next. */
function after(ended: EndedCall | null, url: string): Answer {
  if (ended === null || url === "") return twiml(hangUp());
  const to = new URL(url);
  for (const [name, value] of Object.entries(ended)) to.searchParams.set(name, value);
  return twiml(redirect(to.href));
}

/** At the adapter that has the call. */
function nextOf(stream: string): string {
  return `${new URL(stream.replace(/^ws/, "http")).origin}${NEXT_PATH}`;
}

function textOf(form: Form, name: string): string {
  const value = form[name];
  return typeof value === "string" ? value.slice(0, 256) : "";
}

async function formOf(request: IncomingMessage): Promise<Form | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limits.FORM_BYTES_MAX) return null;
    chunks.push(chunk);
  }
  const form: Record<string, string | string[]> = {};
  for (const [name, value] of new URLSearchParams(Buffer.concat(chunks).toString("utf8"))) {
    const before = form[name];
    form[name] = before === undefined ? value : [...(typeof before === "string" ? [before] : before), value];
  }
  return form;
}
