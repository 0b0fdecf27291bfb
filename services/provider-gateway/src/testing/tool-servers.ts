/** A webhook and an MCP server on loopback, for tests of tools. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Hit {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export type Answer = (response: ServerResponse, hit: Hit) => void;

export interface Webhook {
  readonly url: string;
  readonly origin: string;
  readonly hits: Hit[];
  answer: Answer;
  /** Of requests whose connection the caller has closed before the answer. */
  aborted: number;
  close(): Promise<void>;
}

export const says =
  (body: unknown, status = 200): Answer =>
  (response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };

/** Answers when told to. */
export function held(): { answer: Answer; release(body: unknown): void } {
  const waiting: ServerResponse[] = [];
  return {
    answer: (response) => void waiting.push(response),
    release: (body) => {
      for (const response of waiting.splice(0)) says(body)(response, { method: "", url: "", headers: {}, body: "" });
    },
  };
}

export async function startWebhook(): Promise<Webhook> {
  const server: Server = createServer(async (incoming, response) => {
    response.on("close", () => {
      if (!response.writableFinished) hook.aborted += 1;
    });
    let body = "";
    for await (const part of incoming) body += part;
    const hit = { method: incoming.method ?? "", url: incoming.url ?? "", headers: incoming.headers, body };
    hook.hits.push(hit);
    hook.answer(response, hit);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hook: Webhook = {
    url: `${origin}/tool`,
    origin,
    hits: [],
    answer: says({}),
    aborted: 0,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return hook;
}
