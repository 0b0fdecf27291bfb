/** One call of a webhook: within its deadline, without redirects, never into a private net that is not allowed. */
import { lookup } from "node:dns";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import { onlyPublic, PrivateAddressError } from "./access.ts";

export interface WebhookPost {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Of the whole call. */
  readonly deadlineMs: number;
  /** The operator lets it call any address. */
  readonly anyAddress: boolean;
  /** Ends the call. */
  readonly signal?: AbortSignal;
}

/** `status` 0: no answer, `problem` says why in short words. */
export interface WebhookAnswer {
  readonly status: number;
  readonly problem: string;
}

export type PostWebhook = (post: WebhookPost) => Promise<WebhookAnswer>;

const publicLookup: LookupFunction = (hostname, options, done) => {
  lookup(hostname, { ...options, all: true }, (failure, found) => {
    if (failure !== null) return done(failure, []);
    try {
      const addresses = onlyPublic(found);
      if (options.all === true) return done(null, [...addresses]);
      return done(null, addresses[0]?.address ?? "", addresses[0]?.family);
    } catch (refusal) {
      return done(refusal as Error, []);
    }
  });
};

/** Never rejects. The answer's body is nobody's business and is not read. */
export const postWebhook: PostWebhook = ({ url, headers, body, deadlineMs, anyAddress, signal }) =>
  new Promise((resolve) => {
    const overall = AbortSignal.timeout(deadlineMs);
    const call = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
      method: "POST",
      headers: {
        ...headers,
        "content-type": "application/json",
        "content-length": String(Buffer.byteLength(body)),
        "user-agent": "rspp-webhooks/1",
      },
      // No connection is kept: the next call may be days away.
      agent: false,
      signal: signal === undefined ? overall : AbortSignal.any([overall, signal]),
      ...(anyAddress ? {} : { lookup: publicLookup }),
    });
    call.on("response", (response) => {
      resolve({ status: response.statusCode ?? 0, problem: "" });
      response.destroy();
    });
    call.on("error", (failure) => resolve({ status: 0, problem: problemOf(failure, overall.aborted) }));
    call.end(body);
  });

function problemOf(failure: Error, late: boolean): string {
  if (failure instanceof PrivateAddressError) return "private address";
  if (late) return "deadline";
  const code = (failure as { code?: unknown }).code;
  return typeof code === "string" ? code : "connection failed";
}
